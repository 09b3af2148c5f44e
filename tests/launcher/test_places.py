from pathlib import Path

import pytest

from fairseq_kd.models.checkpoint import NAMES_IN_FOLDER
from launcher import places


def test_the_launcher_and_the_plugin_look_for_the_same_checkpoints():
    assert places.CHECKPOINT_NAMES == NAMES_IN_FOLDER


def test_a_checkpoint_is_a_file_or_in_a_folder(tmp_path):
    (tmp_path / "model.pt").touch()
    assert places.find_checkpoint(tmp_path / "model.pt", "--teacher") == tmp_path / "model.pt"
    assert places.find_checkpoint(tmp_path, "--teacher") == tmp_path / "model.pt"

    (tmp_path / "checkpoint_best.pt").touch()
    assert places.find_checkpoint(tmp_path, "--teacher") == tmp_path / "checkpoint_best.pt"


def test_a_folder_to_write_is_one_that_could_be_made(tmp_path):
    places.check_writable(tmp_path / "not" / "yet", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(
        ValueError, match=f"--out {tmp_path}/runs/g cannot be made: {tmp_path}/runs is no folder"
    ):
        places.check_writable(tmp_path / "runs" / "g", "--out")


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"--out {tmp_path}/g cannot be made: {tmp_path} may not be written"):
        places.check_writable(tmp_path / "g", "--out")


def test_where_no_checkpoint_is_the_flag_says_so(tmp_path):
    with pytest.raises(
        ValueError, match=f"--model {tmp_path} holds neither checkpoint_best.pt nor model.pt$"
    ):
        places.find_checkpoint(tmp_path, "--model")
    with pytest.raises(ValueError, match="--model nowhere does not exist$"):
        places.find_checkpoint(Path("nowhere"), "--model")


def test_a_run_is_a_model_once_it_is_finished(tmp_path):
    best = tmp_path / "checkpoint_best.pt"
    for name in (best, tmp_path / "spec.json"):
        name.touch()
    for given in (tmp_path, best):
        with pytest.raises(
            places.Unfinished, match=f"--teacher {given} is still being trained, or was inter"
        ):
            places.find_checkpoint(given, "--teacher")

    (tmp_path / "result.json").touch()
    assert places.find_checkpoint(tmp_path, "--teacher") == best
