"""Whatever cannot work is said before training, in one sentence that names the flag."""

import json
import shutil

import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from tests.processes import run
from tests.tiny import build, train_command, write_data, write_indexed, write_teacher

MANY_HEADS = ModelShape(layers=4, width=16, ffn=32, heads=8, max_positions=40)
STUDENT = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_attention_heads": 4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("hidden_mse_learn", {"mapping": "3:9"}, r"--mapping 3:9 names student state 3.* 2 layers"),
        ("hidden_mse_learn", {"mapping": "2:9"}, r"--mapping 2:9 names teacher state 9.* 4 layers"),
        ("hidden_mse_learn", {"mapping": "diagonal"}, r"--mapping diagonal is not a mapping: use skip, last"),
        ("att_kl_learn", {"mapping": "combine"}, r"--mapping combine"),
        (
            "att_kl_learn",
            {"mapping": "0:0"},
            r"--mapping 0:0 pairs only the embedding outputs, which have no attention",
        ),
        ("att_kl_learn", {"mapping": "0:2"}, r"--mapping 0:2 pairs 0:2, but state 0 is the embedding output"),
        (
            "att_kl_hidden_mse",
            {"mapping": "combine"},
            r"--mapping combine mixes all hidden states, but .* compares pairs of layers",
        ),
        ("att_kl_learn", {"attention_clamp": 0.0}, r"--attention-clamp 0\.0"),
        ("kd", {"temperature": 0.0}, r"--temperature 0\.0"),
        ("kd", {"temperature": -1.0}, r"--temperature -1.0"),
        ("kd", {"hard_weight": -1.0}, r"--hard-weight -1\.0"),
        ("hidden_mse_learn", {"inter_weight": -0.5}, r"--inter-weight -0\.5"),
        ("kd", {"hard_weight": 0.0, "soft_weight": 0.0}, r"--hard-weight and --soft-weight .* all 0"),
        ("crd", {"crd_feature_dim": 0}, r"--crd-feature-dim 0 is out of range: give 1 or more"),
        ("crd", {"crd_negatives": 0}, r"--crd-negatives 0 is out of range: give 1 or more"),
        ("crd", {"crd_temperature": 0.0}, r"--crd-temperature 0.0 is out of range: give a number above 0"),
        ("crd", {"crd_momentum": 1.0}, r"--crd-momentum 1.0 is out of range: give a number in"),
    ],
)
def test_wrong_options(data, teacher, method, options, sentence):
    with pytest.raises(CannotStart, match=sentence):
        build(data, teacher, method, **options)


def test_another_number_of_heads(data, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", MANY_HEADS)
    with pytest.raises(CannotStart, match="att_mse_learn compares .* student has 4 heads and the teacher 8"):
        build(data, teacher, "att_mse_learn", layers="random", model=STUDENT)


def test_several_problems_are_told_at_once(data, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    with pytest.raises(CannotStart) as raised:
        build(data, teacher, "att_mse_hidden_mse", mapping="2:9")
    assert str(raised.value).startswith("Cannot start distillation:\n  --teacher")
    assert "has no classification head" in str(raised.value)
    assert "--mapping 2:9 names teacher state 9" in str(raised.value)


def test_a_teacher_is_needed(data):
    random = {**STUDENT, "encoder_ffn_embed_dim": 8}
    with pytest.raises(CannotStart, match="--criterion att_kl_learn .*: give --teacher"):
        build(data, None, "att_kl_learn", layers="random", model=random, soft_weight=0.0)
    with pytest.raises(CannotStart, match="--soft-weight above 0 .*: give --teacher"):
        build(data, None, "kd", layers="random", model=random)
    build(data, None, "kd", layers="random", model=random, soft_weight=0.0)


def test_a_teacher_of_another_task(data, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", classes=3)
    with pytest.raises(CannotStart, match="--teacher .* 3 classes, but .* has 2"):
        build(data, teacher, "kd")


def test_another_vocabulary(data, tmp_path):
    (tmp_path / "other").mkdir()
    teacher = write_teacher(tmp_path / "other" / "model.pt")
    (tmp_path / "other" / "dict.txt").write_text("".join(f"v{number} 1\n" for number in range(60)))
    with pytest.raises(CannotStart, match="--teacher .* number words differently"):
        build(data, teacher, "kd")


def test_a_vocabulary_of_another_size(data, tmp_path):
    import torch

    teacher = write_teacher(tmp_path / "model.pt")
    state = torch.load(teacher, weights_only=True)
    name = "encoder.sentence_encoder.embed_tokens.weight"
    state["model"][name] = state["model"][name][:50]
    torch.save(state, teacher)
    with pytest.raises(CannotStart, match="--teacher .* 50 words, but the data .* 65"):
        build(data, teacher, "kd")


def test_another_pair_format(tmp_path):
    data = write_data(tmp_path / "data", pair_format="bert")
    teacher = write_teacher(tmp_path / "model.pt")
    with pytest.raises(CannotStart, match="format bert, but the model needs roberta"):
        build(data, teacher, "kd")


def test_missing_data(tmp_path):
    with pytest.raises(CannotStart, match=r"nowhere has no input0/dict\.txt"):
        build(tmp_path / "nowhere", None, "kd")


@pytest.mark.parametrize(
    ("method", "task", "sentence"),
    [
        (
            "kd",
            {"best_checkpoint_metric": "f2"},
            "f2 is not logged here: choose from accuracy, f1, hard, loss, mcc, soft",
        ),
        ("kd", {"teacher_device": "gpu"}, "--teacher-device gpu cannot be used"),
        ("kd", {"teacher_device": "cuda:99"}, "--teacher-device cuda:99 cannot be used"),
        ("kd", {"length_bucket": 0}, "--length-bucket 0"),
        ("kd", {"bf16": True}, "--bf16 with --cpu .* --autocast bf16"),
        ("kd", {"fp16": True}, "--fp16 with --cpu .* add --fp16-no-flatten-grads"),
    ],
)
def test_wrong_settings_of_the_task(data, teacher, method, task, sentence):
    with pytest.raises(CannotStart, match=sentence):
        build(data, teacher, method, task=task)


@pytest.mark.parametrize("name", ["fp16", "bf16", "amp"])
def test_two_formats_to_compute_in(data, teacher, name):
    formats = {"autocast": "bf16", "fp16_no_flatten_grads": True, name: True}
    with pytest.raises(CannotStart, match=f"--autocast bf16 conflicts with --{name}.*, remove one"):
        build(data, teacher, "kd", task=formats)
    build(data, teacher, "kd", task={**formats, name: False})


def test_half_precision_on_a_cpu_is_warned_of(data, teacher, caplog):
    build(data, teacher, "kd", task={"fp16": True, "fp16_no_flatten_grads": True})
    assert "--fp16 with --cpu: training ends with an error" in caplog.text


def test_a_first_stage_has_no_accuracy_to_choose_by(data, teacher):
    alone = {"hard_weight": 0.0, "soft_weight": 0.0}
    with pytest.raises(CannotStart, match="accuracy is not logged here: choose from attention, loss"):
        build(data, teacher, "att_kl_learn", task={"best_checkpoint_metric": "accuracy"}, **alone)


def test_a_split_without_labels(tmp_path, teacher):
    data = write_data(tmp_path / "data")
    for path in (data / "label").glob("valid.*"):
        path.unlink()
    task, _, _ = build(data, teacher, "kd")
    with pytest.raises(CannotStart, match="no labels for valid, but --hard-weight above 0"):
        task.load_dataset("valid")
    task, _, _ = build(data, teacher, "kd", hard_weight=0.0)
    assert task.load_dataset("valid").targets is None


@pytest.mark.slow
def test_contrasts_need_labels_of_classes(tmp_path, teacher):
    data = write_data(tmp_path / "regression", regression=True)
    scores = write_teacher(tmp_path / "model.pt", classes=1)
    with pytest.raises(CannotStart, match=r"crd contrasts sentences of different labels, .* \(regression\)"):
        build(data, scores, "crd")

    data = write_data(tmp_path / "data")
    for path in (data / "label").glob("valid.*"):
        path.unlink()
    task, _, _ = build(data, teacher, "crd", hard_weight=0.0, soft_weight=0.0)
    with pytest.raises(CannotStart, match="no labels for valid, but --inter-weight above 0"):
        task.load_dataset("valid")

    write_indexed(data / "label" / "train", [np.array([4, 2])] * 64)
    with pytest.raises(CannotStart, match="all sentences of train in .* have the same label"):
        build(data, teacher, "crd")
    for path in (data / "label").glob("train.*"):
        path.unlink()
    with pytest.raises(CannotStart, match="has no labels for train, but --criterion crd needs them"):
        build(data, teacher, "crd")


def test_a_label_that_is_no_number(tmp_path):
    data = write_data(tmp_path / "data", regression=True)
    (data / "label" / "valid.label").write_text("0.5\nhalf\n")
    task, _, _ = build(data, write_teacher(tmp_path / "model.pt", classes=1), "kd")
    with pytest.raises(CannotStart, match=r"valid\.label .*'half'"):
        task.load_dataset("valid")


def truncate_index(data):
    index = data / "input0" / "valid.idx"
    index.write_bytes(index.read_bytes()[:20])


@pytest.mark.parametrize(
    ("damage", "split", "sentence"),
    [
        (lambda data: None, "valid1", "no split valid1: it has train, valid"),
        (truncate_index, "valid", r"valid\.idx or \.bin cannot be read .* may be damaged"),
        (
            lambda data: write_indexed(data / "label" / "valid", [np.array([4 + 2, 2])] * 40),
            "valid",
            "has a label outside the 2 classes 0..1",
        ),
        (
            lambda data: write_indexed(data / "label" / "valid", [np.array([4, 2])] * 39),
            "valid",
            "39 labels for 40 sentences",
        ),
    ],
)
def test_a_split_that_cannot_be_read(tmp_path, teacher, damage, split, sentence):
    data = write_data(tmp_path / "data")
    damage(data)
    task, _, _ = build(data, teacher, "kd")
    with pytest.raises(CannotStart, match=sentence):
        task.load_dataset(split)


def test_examples_longer_than_the_model(data, tmp_path):
    short = ModelShape(layers=4, width=16, ffn=32, heads=4, max_positions=10)
    task, _, _ = build(data, write_teacher(tmp_path / "model.pt", short), "kd")
    with pytest.raises(
        CannotStart, match=r"an example of \d+ tokens, but the student \(--max-positions\) takes 10"
    ):
        task.load_dataset("train")


def test_examples_longer_than_the_teacher(data, tmp_path):
    short = ModelShape(layers=4, width=16, ffn=32, heads=4, max_positions=10)
    teacher = write_teacher(tmp_path / "model.pt", short)
    longer = {**STUDENT, "encoder_ffn_embed_dim": 8, "max_positions": 40}
    task, _, _ = build(data, teacher, "kd", layers="random", model=longer)
    with pytest.raises(CannotStart, match=r"an example of \d+ tokens, but --teacher \S+ takes 10: make"):
        task.load_dataset("train")
    task, _, _ = build(data, teacher, "kd", layers="random", model=longer, soft_weight=0.0)
    task.load_dataset("train")


def test_data_without_metadata(tmp_path, teacher):
    data = write_data(tmp_path / "data")
    (data / "meta.json").unlink()
    task, _, _ = build(data, teacher, "kd")
    assert (task.metadata.num_classes, task.metadata.labels) == (2, ("0", "1"))

    (data / "label" / "dict.txt").unlink()
    with pytest.raises(
        CannotStart, match=r"has no meta\.json, and no label/dict\.txt with .*: give --num-classes"
    ):
        build(data, teacher, "kd")
    with pytest.raises(CannotStart, match=r"and labels without label/dict\.txt, .*: copy that file"):
        build(data, teacher, "kd", task={"num_classes": 2})
    shutil.rmtree(data / "label")
    task, _, _ = build(data, teacher, "kd", task={"num_classes": 2}, hard_weight=0.0)
    assert (task.metadata.num_classes, task.metadata.labels) == (2, ())


@pytest.mark.parametrize(
    ("classes", "labels"), [(2, ("b", "a")), (3, ("b", "a", "c")), (4, ("b", "a", "c", "madeupword0000"))]
)
def test_more_or_fewer_classes_than_the_dictionary_names(tmp_path, caplog, classes, labels):
    data = write_data(tmp_path / "data", classes=2)
    (data / "meta.json").unlink()
    (data / "label" / "dict.txt").write_text("b 9\na 8\nc 1\nmadeupword0000 0\n")
    given = write_teacher(tmp_path / "model.pt", classes=classes)
    task, _, _ = build(data, given, "kd", task={"num_classes": classes})
    assert task.metadata.labels == labels
    warned = f"dict.txt has 3 classes (b, a, c), expected {classes}" in caplog.text
    assert warned == (classes != 3)


def test_contradicting_classes(data, teacher):
    with pytest.raises(CannotStart, match="--num-classes 3 conflicts with .* which has 2"):
        build(data, teacher, "kd", task={"num_classes": 3})


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"num_classes": 2, "regression_target": True}, "--num-classes 2 conflicts with --regression-target"),
        ({"num_classes": 1}, "--num-classes 1 is too few: give 2 or more, or .*--regression-target"),
        ({"num_classes": 0}, "--num-classes 0 is too few"),
    ],
)  # fmt: skip
def test_flags_of_stock_data_that_contradict_one_another(tmp_path, teacher, flags, sentence):
    data = write_data(tmp_path / "data")
    (data / "meta.json").unlink()
    with pytest.raises(CannotStart, match=rf"has no meta\.json, .*{sentence}"):
        build(data, teacher, "kd", task=flags)


@pytest.mark.parametrize(
    ("limits", "split", "sentence"),
    [
        ((9, 9), "train", r"--max-tokens 9 is less than the \d\d"),
        ((9, 9), "valid", "--max-tokens 9 is less than"),
        ((None, 9), "valid", "--max-tokens-valid 9 is less than"),
    ],
)
def test_batches_without_room_for_an_example(data, teacher, limits, split, sentence):
    limits = dict(zip(("max_tokens", "max_tokens_valid"), limits, strict=True))
    task, _, _ = build(data, teacher, "kd", task=limits)
    with pytest.raises(CannotStart, match=sentence):
        task.load_dataset(split)
    if limits["max_tokens"] is None:
        task.load_dataset("train")


@pytest.mark.slow
def test_the_command_ends_with_the_sentence_and_a_non_zero_status(data, tmp_path):
    result = run(train_command(data, tmp_path / "run", "--criterion", "kd", "--teacher", "nowhere.pt"))
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "Cannot start: --teacher nowhere.pt does not exist: give a checkpoint file, or a folder that has one."
    )
    assert "Traceback" not in result.stderr
    assert "begin training" not in result.stdout + result.stderr


@pytest.mark.slow
def test_regression_flags_of_stock_data(tmp_path):
    data = write_data(tmp_path / "data", regression=True)
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").unlink()
    teacher = write_teacher(tmp_path / "model.pt", classes=1)
    for classes in (1, None):
        task, _, _ = build(data, teacher, "kd", task={"num_classes": classes, "regression_target": True})
        assert task.metadata.regression
    assert task.metadata.dictionary_hash == meta["dictionary_hash"]
