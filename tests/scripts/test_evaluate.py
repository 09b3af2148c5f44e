"""`scripts/evaluate.py`: its table is not interrupted by other output."""

import sys

from scripts.evaluate import main
from tests.tiny import write_data, write_teacher


def test_all_notes_come_before_the_table(tmp_path, capsys, monkeypatch):
    data = write_data(tmp_path / "TINY-bin", [("train", 9), ("valid", 12)])
    models = [write_teacher(tmp_path / name / "model.pt", seed=seed) for name, seed in [("a", 1), ("b", 2)]]
    copy = tmp_path / "a" / "copy.pt"
    copy.write_bytes(models[0].read_bytes())
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # as on a terminal
    given = ["--checkpoint", *map(str, [*models, copy]), "--data", str(data)]
    assert main([*given, "--split", "valid", "--cpu"]) == 0

    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| checkpoint"))
    assert any("reusing its scores" in line for line in lines[:start])
    assert len(lines) == start + 2 + 3
    assert all(line.startswith("|") for line in lines[start:])
