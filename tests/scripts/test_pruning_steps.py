"""The sizes of stepwise pruning, and the settings that its folder records."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fairseq_kd.models.pruning import Sizes
from launcher.planning.run_spec import RunSpec
from scripts.pruning_steps import DEPTH_FIRST, RECORD, TOGETHER, WIDTH_FIRST, claim, schedule

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
def test_sizes_of_each_step(steps, order, expected):
    assert table(schedule(START, END, steps, order)) == expected


def test_repeated_sizes_are_one_step():
    assert table(schedule(Sizes(3, 2, 8, 4), Sizes(2, 2, 8, 4), 4, TOGETHER)) == [(2, 2, 8, 4)]
    assert table(schedule(START, Sizes(6, 12, 3072, 768), 1, WIDTH_FIRST)) == [(6, 12, 3072, 768)]
    assert schedule(START, START, 3, TOGETHER) == []


SPEC = RunSpec(
    "RTE", "kd", "all", "", "one", 1, 10, 16, 2e-5, 100, 6, "data", "teacher", {"--temperature": "4"}
)
PRUNED, HALF, DONE = "1/pruned/model.pt", "1/checkpoint_last.pt", "1/result.json"


def fill(out: Path, *names: str) -> None:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()


@pytest.mark.parametrize("there", [PRUNED, HALF, DONE])
@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"method": "pkd"}, r"another method \(kd, now pkd\)"),
        ({"lr": 1e-3}, r"another lr \(2e-05, now 0.001\)"),
        ({"overrides": {}}, r"another flags \(\['--temperature', '4'\], now \[\]\)"),
        ({"data": "more"}, r"another data \("),
        ({"teacher": "another"}, r"another teacher \("),
    ],
)
def test_steps_with_other_settings_are_refused(tmp_path, there, other, sentence):
    claim(tmp_path, [END], SPEC)
    fill(tmp_path, there)
    claim(tmp_path, [END], SPEC)
    with pytest.raises(ValueError, match=f"--out {tmp_path} contains steps of another schedule"):
        claim(tmp_path, [replace(END, layers=9), END], SPEC)
    with pytest.raises(ValueError, match=f"--out {tmp_path} contains steps of {sentence}.* name another"):
        claim(tmp_path, [END], replace(SPEC, **other))


@pytest.mark.parametrize("text", [None, '{"schedule": [', "[]"])
def test_steps_without_a_record_are_refused(tmp_path, text):
    fill(tmp_path, PRUNED)
    if text is not None:
        (tmp_path / RECORD).write_text(text)
    with pytest.raises(ValueError, match=f"contains steps, but no {RECORD}"):
        claim(tmp_path, [END], SPEC)


def test_a_record_without_steps_is_replaced_and_an_older_one_is_completed(tmp_path):
    (tmp_path / RECORD).write_text('{"schedule": [')
    claim(tmp_path, [END], SPEC)
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["schedule"] == [vars(END)]
    fill(tmp_path, DONE)
    del record["layers"]
    (tmp_path / RECORD).write_text(json.dumps(record))
    claim(tmp_path, [END], SPEC)
