"""Layers that a teacher does not have are refused before anything starts."""

from pathlib import Path

import pytest

import experiments


def write_checkpoint(path: Path, layers: int) -> None:
    """Write as much of one as the fake Python reads."""
    path.write_text(str(layers))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--init", "0,2,6"], "--init 0,2,6 names layer 6, and {} has 6 layers: name 0 to 5."),
        (["--mapping", "0:0,3:7"], "--mapping 0:0,3:7 reaches state 7, and {} has 6 layers: name 0 to 6."),
        (["--mapping", "top8"], "--mapping top8 reaches state 8, and {} has 6 layers: name 0 to 6."),
        (["--init", "1,3,5", "--mapping", "top6"], None),
        (["--init", "random:8", "--mapping", "1:6"], None),
        (["--init", "all", "--mapping", "skip"], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_layers_that_the_teacher_has_not_are_refused(call, teacher, tmp_path, capsys, given, sentence):
    write_checkpoint(teacher / "checkpoint_best.pt", 6)
    grid = [*call, "--method", "hidden_mse_learn", "--seeds", "1,2", *given]
    if sentence is None:
        assert experiments.main([*grid, "--dry-run"]) == 0
        return
    with pytest.raises(SystemExit) as stopped:
        experiments.main(grid)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"Cannot start: {sentence.format(teacher / 'checkpoint_best.pt')}\n"
    assert not (tmp_path / "runs").exists()


def test_layers_of_another_model_are_not_held_against_the_teacher(call, teacher, capsys):
    write_checkpoint(teacher / "checkpoint_best.pt", 6)
    grid = [*call, "--method", "hidden_mse_learn", "--init", "0,2,8", "--dry-run"]
    assert experiments.main([*grid, "--", "--init-from", "deep.pt"]) == 0
    with pytest.raises(SystemExit):
        experiments.main([*grid, "--mapping", "top8", "--", "--init-from", "deep.pt"])
    assert "--mapping top8 reaches state 8" in capsys.readouterr().err


def test_a_teacher_that_is_made_first_is_as_deep_as_its_model(call, data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "pretrained.pt", 6)
    without = call[: call.index("--teacher")] + call[call.index("--teacher") + 2 :]
    (tmp_path / "teachers" / "MRPC" / "checkpoint_best.pt").unlink()
    (data / "MRPC-bin" / "input0").mkdir()
    with pytest.raises(SystemExit):
        experiments.main([*without, "--method", "kd", "--init", "6", "--pretrained", "pretrained.pt"])
    assert "--init 6 names layer 6, and pretrained.pt has 6 layers" in capsys.readouterr().err
