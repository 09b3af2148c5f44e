"""Layer maps against tables, and student weights copied from a teacher."""

import pytest
import torch

from fairseq_kd.layers import layer_map, student_state_dict
from tests.originals import recorded

# mapping | layers of student and teacher | pairs; halves are rounded to even: 1.5 -> 2, 4.5 -> 4, 2.5 -> 2, 7.5 -> 8
MAPS = """
skip | 3 12 | 0:0 1:4 2:8 3:12
skip | 3 9 | 0:0 1:3 2:6 3:9
skip | 4 6 | 0:0 1:2 2:3 3:4 4:6
skip | 5 12 | 0:0 1:2 2:5 3:7 4:10 5:12
skip | 2 2 | 0:0 1:1 2:2
skip | 1 6 | 0:0 1:6
last | 3 12 | 3:12
pkd-skip | 6 12 | 1:2 2:4 3:6 4:8 5:10
pkd-skip | 4 12 | 1:3 2:6 3:9
pkd-skip | 2 12 | 1:6
pkd-skip | 5 12 | 1:2 2:4 3:6 4:8
pkd-last | 6 12 | 1:7 2:8 3:9 4:10 5:11
pkd-last | 3 12 | 1:10 2:11
top12 | 6 12 | 0:0 1:2 2:4 3:6 4:8 5:10 6:12
top10 | 6 12 | 0:0 1:2 2:3 3:5 4:7 5:8 6:10
top8 | 6 12 | 0:0 1:1 2:3 3:4 4:5 5:7 6:8
t_top10 | 6 12 | 0:0 1:2 2:3 3:5 4:7 5:8 6:10
top10 | 4 12 | 0:0 1:2 2:5 3:8 4:10
1:4,3:12 | 3 12 | 1:4 3:12
 3:12 , 0:0 | 3 12 | 3:12 0:0
""".strip("\n").splitlines()


@pytest.mark.parametrize("row", MAPS)
def test_layer_map(row):
    name, layers, pairs = row.split(" | ")
    expected = [tuple(map(int, pair.split(":"))) for pair in pairs.split()]
    student, teacher = map(int, layers.split())
    assert layer_map(name, student, teacher) == layer_map(expected, student, teacher) == expected


def test_layer_maps_of_patient_kd_equal_the_recorded_ones():
    tables = recorded("pkd_layer_tables")
    assert len(tables) == 16
    for key, table in tables.items():
        _, kind, teacher, student = key.split("_")
        expected = list(enumerate(table.tolist(), start=1))
        assert layer_map(f"pkd-{kind}", int(student), int(teacher)) == expected, key


def test_layer_maps_of_hidden_state_knowledge_equal_the_recorded_ones():
    maps = {key: table for key, table in recorded("hsk_depth_tables").items() if key.startswith("out_map_")}
    assert len(maps) == 9
    for key, table in maps.items():
        _, _, student, name = key.split("_")
        assert layer_map(name, int(student), 12) == list(enumerate(table.tolist())), key


@pytest.mark.parametrize(
    ("name", "student", "teacher", "words"),
    [
        ("skipp", 3, 12, ["--mapping skipp", "skip, last, pkd-skip"]),
        ("", 3, 12, ["--mapping", "skip, last, pkd-skip"]),
        ("1:4;2:8", 3, 12, ["--mapping 1:4;2:8", "0:0,1:4"]),
        ("combine", 3, 12, ["--mapping combine"]),
        ("3:14", 3, 12, ["--mapping 3:14", "teacher state 14", "12 layers", "to 12"]),
        ("4:12", 3, 12, ["--mapping 4:12", "student state 4", "3 layers", "to 3"]),
        ([(1, -1)], 3, 12, ["1:-1", "teacher state -1"]),
        ("1:4,1:4", 3, 12, ["1:4,1:4", "twice"]),
        ([], 3, 12, ["no pair"]),
        ("top13", 6, 12, ["--mapping top13", "teacher state 13", "12 layers", "top12"]),
        ("top0", 6, 12, ["--mapping top0"]),
        ("topten", 6, 12, ["--mapping topten"]),
        ("s_top10", 6, 12, ["--mapping s_top10"]),
        ("pkd-skip", 1, 12, ["--mapping pkd-skip", "1 layer:"]),
        ("pkd-skip", 12, 6, ["12 layers and the teacher 6 layers"]),
        ("pkd-last", 12, 6, ["12 layers and the teacher 6 layers"]),
    ],
)
def test_impossible_mapping_raises_quoting_it(name, student, teacher, words):
    with pytest.raises(ValueError) as error:
        layer_map(name, student, teacher)
    for word in words:
        assert word in str(error.value)


def test_the_error_names_the_flag_that_was_used():
    with pytest.raises(ValueError, match="^--depth-scheme top9 "):
        layer_map("top9", 3, 6, flag="--depth-scheme")


ENCODER = "encoder.sentence_encoder."


def teacher(layers=4):
    """Return tensors of one number: 10 k + 1, 10 k + 2 in layer k; fairseq's fast-path copies are 99."""
    weights = {
        f"{ENCODER}version": 3.0,
        f"{ENCODER}embed_tokens.weight": -1.0,
        f"{ENCODER}embed_positions.weight": -2.0,
        f"{ENCODER}layernorm_embedding.weight": -3.0,
        "encoder.lm_head.bias": -4.0,
        "classification_heads.mrpc.out_proj.weight": -5.0,
    }
    for k in range(layers):
        layer = f"{ENCODER}layers.{k}."
        weights[f"{layer}self_attn.out_proj.weight"] = 10.0 * k + 1
        weights[f"{layer}fc1.weight"] = 10.0 * k + 2
        for copy in ("in_proj", "out_proj", "fc1", "fc2"):
            weights[f"{layer}{copy}_weight"] = weights[f"{layer}{copy}_bias"] = 99.0
    return {name: torch.tensor([value]) for name, value in weights.items()}


@pytest.mark.parametrize(
    ("init_layers", "sources"),
    [([1, 3], [1, 3]), (" 3 , 0 ", [3, 0]), ([2, 2, 0], [2, 2, 0]), ("all", [0, 1, 2, 3]), ((3,), [3])],
)
def test_layers_are_copied_in_the_given_order(init_layers, sources):
    student = student_state_dict(teacher(), init_layers)

    kept = ("embed", "lm_head", "classification_heads")
    expected = {name: tensor for name, tensor in teacher().items() if any(part in name for part in kept)}
    for target, source in enumerate(sources):
        expected[f"{ENCODER}layers.{target}.self_attn.out_proj.weight"] = torch.tensor([10.0 * source + 1])
        expected[f"{ENCODER}layers.{target}.fc1.weight"] = torch.tensor([10.0 * source + 2])
    assert student == expected


def test_layer_numbers_may_have_several_digits():
    student = student_state_dict(teacher(12), [1, 11])
    assert student[f"{ENCODER}layers.0.fc1.weight"].item() == 12
    assert student[f"{ENCODER}layers.1.fc1.weight"].item() == 112
    assert f"{ENCODER}layers.2.fc1.weight" not in student


@pytest.mark.parametrize(
    ("init_layers", "words"),
    [
        ([0, 4], ["--init-layers 0,4", "layer 4", "4 layers", "0 to 3"]),
        ("3,7,11", ["--init-layers 3,7,11", "layer 7"]),
        ([-1], ["layer -1"]),
        ("-1", ["layer -1"]),
        ("0;1", ["'0;1'"]),
        ("", ["--init-layers ''"]),
        ([], ["no layer"]),
    ],
)
def test_missing_layer_raises_quoting_it(init_layers, words):
    with pytest.raises(ValueError) as error:
        student_state_dict(teacher(), init_layers)
    for word in words:
        assert word in str(error.value)


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match="--init-layers"):
        student_state_dict({"fc.weight": torch.zeros(1)}, [0])
