"""Schedules end when their runs do, also with several batches per update and for tasks of the user."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fairseq.data.data_utils import batch_by_size

from launcher.datasets import (
    TASKS,
    Data,
    batches_of_an_epoch,
    find_data,
    scheduled,
    settings_of,
    task_name,
    update_freqs,
)
from launcher.planning.job import Job, teacher_spec

MRPC = TASKS["MRPC"]


@pytest.mark.parametrize(
    ("given", "epochs", "freqs"),
    [(None, 3, [1, 1, 1]), ("4", 2, [4, 4]), ("4,2", 4, [4, 2, 2, 2]), ("[8, 4]", 2, [8, 4])],
)
def test_the_last_frequency_holds_for_the_remaining_epochs(given, epochs, freqs):
    assert update_freqs({} if given is None else {"--update-freq": given}, epochs) == freqs


@pytest.mark.parametrize("given", ["0", "x", "4,0", "2.5", "", True])
def test_an_invalid_frequency_is_refused(given):
    with pytest.raises(ValueError, match=f"--update-freq {given}, which is no number of batches"):
        update_freqs({"--update-freq": given}, 3)


@pytest.mark.parametrize("freq", ["1", "4", "3", "4,2,1", "1,1,1,1,1,2"])
def test_a_run_ends_with_its_schedule(spec, tmp_path, freq):
    overrides = {"--update-freq": freq}
    data = Data(tmp_path, MRPC.sentences, "accuracy", ("valid",), "d")
    (tmp_path / "model.pt").write_bytes(b"model")
    run = teacher_spec("MRPC", data, tmp_path / "model.pt", 10, 8, overrides=overrides)
    assert run.updates == pytest.approx(Job(run, tmp_path, data, "t", True, tmp_path).updates, rel=0.01)
    assert run.warmup == pytest.approx(137 / 2296 * run.updates, abs=1)


def test_a_schedule_without_the_flag_is_the_published_one():
    assert scheduled(MRPC, 10, 16, 3668) == {"epochs": 10, "updates": 2296, "warmup": 137}
    assert scheduled(MRPC, 10, 8, 3668, {"--update-freq": "2"}) == scheduled(MRPC, 10, 16, 3668)


def test_numbers_that_the_user_gives_win_and_rename_no_run(spec):
    own = {"--update-freq": "4", "--total-num-update": "1148", "--warmup-updates": "69"}
    assert scheduled(MRPC, 10, 8, 3668, own) == scheduled(MRPC, 10, 8, 3668)
    del own["--warmup-updates"]
    assert scheduled(MRPC, 10, 8, 3668, own) == {"epochs": 10, "updates": 4592, "warmup": 68}
    data = Data(Path("d"), 3668, "accuracy", ("valid",), "d")
    run = replace(spec, batch_size=8, overrides=own)
    assert Job(run, Path("r"), data, "t", True, Path("t.pt")).updates == 1150


@pytest.mark.parametrize(
    ("task", "epochs", "batch_size", "sentences", "schedule"),
    [
        ("MRPC", 10, 16, 3668, (2296, 137)),  # as published
        ("RTE", 10, 16, 2490, (2036, 122)),
        ("QQP", 10, 32, 363849, (113272, 28318)),
        ("MRPC", 3, 16, 3668, (689, 41)),
        ("MRPC", 3, 32, 3668, (344, 21)),
        ("SST-2", 1, 32, 6735, (209, 13)),  # a tenth of the sentences, a tenth of the updates
    ],
)
def test_schedules_are_the_published_ones_scaled(task, epochs, batch_size, sentences, schedule):
    assert TASKS[task].schedule(epochs, batch_size, sentences) == schedule


def write_meta(folder: Path, **changes) -> Path:
    meta = {"task": "topics", "metric": "macro_f1", "regression": False, "made_from": "f"}
    meta["splits"] = {
        "train": {"sentences": 640},
        "valid": {"sentences": 9},
        "unlabelled": {"sentences": 1000},
    }
    (folder / "topics-bin").mkdir(exist_ok=True)
    (folder / "topics-bin" / "meta.json").write_text(json.dumps(meta | changes))
    return folder


def test_a_task_of_the_user_has_its_own_settings_or_the_defaults(tmp_path):
    data = find_data(write_meta(tmp_path), "topics")
    settings = settings_of("topics", data)
    assert (settings.batch_size, settings.lr) == (32, 2e-5)
    assert scheduled(settings, 3, 16, 640) == {"epochs": 3, "updates": 120, "warmup": 7}
    assert (data.metric, data.subsets, data.regression) == ("macro_f1", ("valid",), False)

    own = find_data(write_meta(tmp_path, settings={"batch_size": 8, "lr": 1e-4}, regression=True), "topics")
    assert (settings_of("topics", own).batch_size, settings_of("topics", own).lr) == (8, 1e-4)
    assert own.regression


@pytest.mark.parametrize("sentences", [20, 40, 100, 300])
def test_a_run_of_small_data_of_the_user_ends_with_its_schedule(tmp_path, spec, sentences):
    data = find_data(write_meta(tmp_path, splits={"train": {"sentences": sentences}}), "topics")
    schedule = scheduled(settings_of("topics", data), 10, 32, sentences)
    run = replace(spec, batch_size=32, **schedule)
    assert schedule["updates"] == Job(run, Path("r"), data, "t", True, Path("t.pt")).updates


def test_an_unknown_name_may_be_data_of_the_user(tmp_path):
    names = ("sst2", "SST-2", "sst-2", "Sst2", "topics")
    assert [task_name(name) for name in names] == [*["SST-2"] * 4, "topics"]
    with pytest.raises(
        ValueError, match=r"preprocess.custom --name mrcp --out .*or correct the name: .*MRPC"
    ):
        find_data(tmp_path, "mrcp")
    with pytest.raises(ValueError, match="preprocess.glue --tasks MRPC"):
        find_data(tmp_path, "MRPC")


@pytest.mark.parametrize(("meta", "problem"), [("{", "JSONDecodeError"), ('{"task": "MRPC"}', "splits")])
def test_metadata_that_cannot_be_read_is_refused(data, meta, problem):
    path = data / "MRPC-bin" / "meta.json"
    path.write_text(meta)
    with pytest.raises(ValueError, match=f"{path} .*{problem}"):
        find_data(data, "MRPC")


def test_data_of_another_task_is_refused(data):
    (data / "MRPC-bin" / "meta.json").write_text((data / "MNLI-bin" / "meta.json").read_text())
    with pytest.raises(ValueError, match=f"--data {data} .* MNLI, not MRPC: .* --task mnli"):
        find_data(data, "MRPC")


@pytest.mark.parametrize("multiple", [1, 4, 8])
@pytest.mark.parametrize("batch_size", [1, 6, 8, 12, 16])
def test_batches_of_an_epoch_are_those_that_fairseq_makes(batch_size, multiple):
    for sentences in (1, 7, 8, 23, 24, 26, 47, 100):
        made = batch_by_size(
            np.arange(sentences),
            None,
            num_tokens_vec=np.ones(sentences, dtype=np.int64),
            max_sentences=batch_size,
            required_batch_size_multiple=multiple,
        )
        assert batches_of_an_epoch(sentences, batch_size, multiple) == len(made)
