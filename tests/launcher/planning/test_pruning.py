"""The sizes on the way to a small model, and the folder of its steps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fairseq_kd.models.pruning import Sizes
from launcher.planning.pruning import DEPTH_FIRST, RECORD, TOGETHER, WIDTH_FIRST, claim, schedule
from launcher.planning.run_spec import RunSpec

START, END = Sizes(12, 12, 3072, 768), Sizes(6, 2, 768, 128)


def table(sizes):
    return [(size.layers, size.heads, size.ffn, size.rank) for size in sizes]


@pytest.mark.parametrize(
    ("steps", "order", "expected"),
    [
        (1, TOGETHER, [(6, 2, 768, 128)]),
        (2, TOGETHER, [(9, 7, 1920, 448), (6, 2, 768, 128)]),
        (2, WIDTH_FIRST, [(12, 7, 1920, 448), (12, 2, 768, 128), (9, 2, 768, 128), (6, 2, 768, 128)]),
        (1, DEPTH_FIRST, [(6, 12, 3072, 768), (6, 2, 768, 128)]),
    ],
)
def test_the_sizes_on_the_way(steps, order, expected):
    assert table(schedule(START, END, steps, order)) == expected


def test_sizes_that_repeat_are_one_step():
    assert table(schedule(Sizes(3, 2, 8, 4), Sizes(2, 2, 8, 4), 4, TOGETHER)) == [(2, 2, 8, 4)]
    assert table(schedule(START, Sizes(6, 12, 3072, 768), 1, WIDTH_FIRST)) == [(6, 12, 3072, 768)]
    assert schedule(START, START, 3, TOGETHER) == []


# the folder

SPEC = RunSpec(
    "RTE", "kd", "all", "", "one", 1, 10, 16, 2e-5, 100, 6, "data", "teacher", ("--temperature", "4")
)
PRUNED, HALF, DONE = "1/pruned/model.pt", "1/checkpoint_last.pt", "1/result.json"


def fill(out: Path, *names: str) -> None:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()


@pytest.mark.parametrize("there", [(), (PRUNED,), (PRUNED, HALF), (PRUNED, DONE)])
def test_the_same_settings_go_on(tmp_path, there):
    for _ in range(2):
        claim(tmp_path, [END], SPEC)
        fill(tmp_path, *there)


TRAINED_BY = [
    ({"method": "pkd"}, r"another method \(kd, now pkd\)"),
    ({"seed": 2}, r"another seed \(1, now 2\)"),
    ({"epochs": 3}, r"another epochs \(10, now 3\)"),
    ({"batch_size": 8}, r"another batch size \(16, now 8\)"),
    ({"lr": 1e-3}, r"another lr \(2e-05, now 0.001\)"),
    ({"flags": ()}, r"another flags \(\['--temperature', '4'\], now \[\]\)"),
]
PRUNED_BY = [
    ({"data": "more"}, "other data:"),
    ({"teacher": "another"}, "another teacher:"),
    ({"task": "MRPC"}, r"another task \(RTE, now MRPC\)"),
]


@pytest.mark.parametrize("there", [HALF, DONE])
@pytest.mark.parametrize(("other", "sentence"), TRAINED_BY + PRUNED_BY)
def test_steps_that_were_trained_are_of_one_setting(tmp_path, there, other, sentence):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, PRUNED, there)
    with pytest.raises(ValueError, match=f"--out {tmp_path} holds steps of {sentence}.* name another folder"):
        claim(tmp_path, [END], replace(SPEC, **other))
    claim(tmp_path, [END], SPEC)


@pytest.mark.parametrize(("other", "sentence"), PRUNED_BY)
def test_a_pruned_model_is_of_its_data_and_teacher(tmp_path, other, sentence):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, PRUNED)
    with pytest.raises(ValueError, match=sentence):
        claim(tmp_path, [END], replace(SPEC, **other))


def test_a_pruned_model_may_be_trained_in_another_way(tmp_path):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, PRUNED)
    claim(tmp_path, [END], replace(SPEC, lr=1e-3, method="pkd"))
    fill(tmp_path, HALF)
    with pytest.raises(ValueError, match="another method \\(pkd, now kd\\)"):
        claim(tmp_path, [END], SPEC)


@pytest.mark.parametrize("there", [PRUNED, DONE])
def test_another_schedule_is_refused(tmp_path, there):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, there)
    with pytest.raises(ValueError, match="holds steps of another schedule: name another folder"):
        claim(tmp_path, [replace(END, layers=9), END], SPEC)


@pytest.mark.parametrize("text", [None, '{"schedule": [', "[]"])
def test_steps_of_nobody_knows_what_are_refused(tmp_path, text):
    fill(tmp_path, PRUNED)
    if text is not None:
        (tmp_path / RECORD).write_text(text)
    with pytest.raises(
        ValueError, match=f"holds steps, and no {RECORD} that says what they are of: name another"
    ):
        claim(tmp_path, [END], SPEC)


def test_a_record_of_nothing_is_written_anew(tmp_path):
    (tmp_path / RECORD).write_text('{"schedule": [')
    claim(tmp_path, [END], SPEC)
    assert json.loads((tmp_path / RECORD).read_text())["schedule"] == [vars(END)]


def test_a_record_may_be_older_than_a_setting(tmp_path):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, DONE)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(
        json.dumps({name: value for name, value in record.items() if name != "layers"})
    )
    claim(tmp_path, [END], SPEC)
