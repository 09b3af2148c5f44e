"""`scripts/prune_and_distil.py`: a small student in steps, and what it cannot start with."""

import json
import re
import shutil

import pytest

from fairseq_kd.models.checkpoint import read_checkpoint
from scripts import prune_and_distil
from tests.tiny import write_data, write_teacher


@pytest.fixture
def call(tmp_path):
    data = write_data(tmp_path / "RTE-bin")
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "task": "RTE"}))
    teacher = write_teacher(tmp_path / "teacher" / "model.pt")
    given = {"--data": data, "--teacher": teacher, "--out": tmp_path / "out", "--epochs": 1}
    return ["--cpu", *(text for flag, value in given.items() for text in (flag, str(value)))]


SIZES = ["--layers", "2", "--heads", "2", "--ffn", "8", "--rank", "6"]


def test_each_step_starts_from_the_one_before(call, tmp_path, capsys, monkeypatch):
    commands = []

    def train(job, slot):
        commands.append(" ".join(job.command))
        shutil.copy(job.folder / "pruned" / "model.pt", job.folder / "checkpoint_best.pt")
        return 0

    monkeypatch.setattr(prune_and_distil, "train", train)
    command = [*call, *SIZES, "--steps", "2", "--method", "hidden_mse_learn", "--", "--num-workers", "0"]
    assert prune_and_distil.main(command) == 0
    output = capsys.readouterr().out
    assert "Step 1 of 2: 3 layers, 3 heads, ffn 20, embeddings of rank 11" in output
    assert "Step 2 of 2: 2 layers, 2 heads, ffn 8, embeddings of rank 6" in output

    out = tmp_path / "out"
    small = read_checkpoint(str(out / "2"), "--checkpoint")
    assert str(small.shape) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"
    assert f"of {out / '1' / 'checkpoint_best.pt'}: 3 layers" in output
    for number, given in enumerate(commands, start=1):
        assert f"--init-from {out / str(number) / 'pruned' / 'model.pt'} --init-layers all" in given
        assert "--criterion hidden_mse_learn" in given
        assert "--init-head --num-workers 0" in given

    capsys.readouterr()
    assert prune_and_distil.main([*call, "--layers", "3"]) == 2
    assert "holds the steps of another schedule or teacher" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_student(call, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert prune_and_distil.main([*call, *SIZES, "--", "--num-workers", "0"]) == 0
    assert capfd.readouterr().out.count("dev loss") == 1
    student = read_checkpoint(str(tmp_path / "out" / "1" / "checkpoint_best.pt"), "--checkpoint")
    assert str(student.shape) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"
    assert (tmp_path / "out" / "1" / "predictions" / "valid.npz").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing is to be pruned: give --layers"),
        (["--heads", "9"], "--heads 9, but the model has 4"),
        (["--layers", "2", "--", "--criterion", "kd"], "--criterion.*--method"),
    ],
)
def test_what_is_wrong_is_said(call, tmp_path, capsys, flags, message):
    assert prune_and_distil.main([*call, *flags]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
