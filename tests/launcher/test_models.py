from pathlib import Path

import pytest

from fairseq_kd.models.checkpoint import NAMES_IN_FOLDER
from launcher.models import CHECKPOINT_NAMES, Unfinished, find_checkpoint


def test_the_launcher_and_the_plugin_look_for_the_same_checkpoints():
    assert CHECKPOINT_NAMES == NAMES_IN_FOLDER


def test_a_checkpoint_is_a_file_or_in_a_folder(tmp_path):
    (tmp_path / "model.pt").touch()
    assert find_checkpoint(tmp_path / "model.pt", "--teacher") == tmp_path / "model.pt"
    assert find_checkpoint(tmp_path, "--teacher") == tmp_path / "model.pt"

    (tmp_path / "checkpoint_best.pt").touch()
    assert find_checkpoint(tmp_path, "--teacher") == tmp_path / "checkpoint_best.pt"


def test_where_no_checkpoint_is_the_flag_says_so(tmp_path):
    with pytest.raises(
        ValueError, match=f"--model {tmp_path} holds neither checkpoint_best.pt nor model.pt$"
    ):
        find_checkpoint(tmp_path, "--model")
    with pytest.raises(ValueError, match="--model nowhere does not exist$"):
        find_checkpoint(Path("nowhere"), "--model")


def test_a_run_is_a_model_once_it_is_finished(tmp_path):
    best = tmp_path / "checkpoint_best.pt"
    for name in (best, tmp_path / "spec.json"):
        name.touch()
    for given in (tmp_path, best):
        with pytest.raises(Unfinished, match=f"--teacher {given} is still being trained, or was inter"):
            find_checkpoint(given, "--teacher")

    (tmp_path / "result.json").touch()
    assert find_checkpoint(tmp_path, "--teacher") == best
