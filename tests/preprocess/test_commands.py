"""Errors and interruptions of a command are one line, and leave no incomplete files."""

import pytest


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(28, "No space left"), 1, "out: No space left; partial output was removed."),
        (KeyboardInterrupt(), 130, "interrupted; partial output was removed."),
    ],
)
def test_a_full_disk_or_an_interruption_leaves_no_files(
    run_glue, tmp_path, capsys, monkeypatch, error, status, message
):
    def fail(*_):
        raise error

    monkeypatch.setattr("preprocess.indexed.IndexedWriter.add", fail)
    assert run_glue("--tasks", "RTE") == status
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("preprocess.glue: ")
    assert line.endswith(message)
    assert list((tmp_path / "out").iterdir()) == []
