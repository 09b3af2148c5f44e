"""The files that `experiments.py report` writes, and the errors about its arguments."""

import re
from pathlib import Path

import pytest

from launcher.report import plots
from launcher.report.command import main
from tests.launcher.report.folders import classes_with, lines, spec, table, write_run

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_report_of_a_small_grid(group, report, capsys, drawn):
    assert report() == 0
    printed = capsys.readouterr().out
    assert "12 of 12 runs that were started are finished" in printed

    header, _, *rows = table(printed, "## SST-2")
    assert header == ["method", "init", "mapping", "stages", "accuracy", "vs kd [95 %]", "seeds",
                      "seconds a seed", "peak GiB"]  # fmt: skip
    by_cell = {(row[0], row[1]): row[4:] for row in rows}
    assert by_cell["kd", "0,1,2"] == ["89.00 ± 1.41", "-", "2", "100", "3.00"]
    score, against, *cost = by_cell["att_kl_learn", "0,1,2"]
    assert (score, cost) == ("**91.50 ± 0.71**", ["2", "150", "3.00"])
    assert re.fullmatch(r"\+2\.50 \[[+-]?\d\.\d\d, \+\d\.\d\d\]", against)
    assert by_cell["att_kl_learn", "3,4,5"][1].startswith("-1.00 [")

    header, _, *rows = table(printed, "Difference to init 0,1,2, accuracy:")
    assert header == ["method", "mapping", "stages", "0,1,2", "3,4,5"]
    assert [row[:4] for row in rows] == [
        ["kd", "-", "one", "89.00 ± 1.41"],
        ["att_kl_learn", "skip", "two", "91.50 ± 0.71"],
    ]
    assert [row[4].split()[0] for row in rows] == ["-10.00", "-13.50"]

    folder = group / "report"
    assert (folder / "report.md").read_text() in printed
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.md", "report.csv", "differences.csv",
        "init-method-SST-2.png", "curves-SST-2.png", "cost-SST-2.png",
    }  # fmt: skip


def test_report_is_reproducible_and_depends_on_its_seed(group, report, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        report("--to", str(tmp_path / name), "--seed", seed)
    a, b, c = ((tmp_path / name / "differences.csv").read_text() for name in "abc")
    assert a == b != c


def test_interval_does_not_depend_on_other_cells(group, report, tmp_path):
    report("--to", str(tmp_path / "before"))
    write_run(group, spec("crd", mapping=""), classes_with(3))
    report("--to", str(tmp_path / "after"))
    before, after = (lines(tmp_path / name / "differences.csv") for name in ("before", "after"))
    assert [row for row in after if row["method"] != "crd"] == before


def test_unfinished_group_is_reported_so_far(group, report, capsys):
    for name in ("MRPC", "RTE"):
        (write_run(group, spec(task=name), score=1.0) / "result.json").unlink()
    unfinished = next(group.glob("*kd-3_4_5*seed2*"))
    (unfinished / "result.json").unlink()

    assert report("--task", "sst2,rte") == 0
    printed = capsys.readouterr().out
    assert "11 of 13 runs" in printed
    assert ["kd", "3,4,5", "-", "one", "80.00", "-", "1 of 2", "100", "2.00"] in table(printed, "## SST-2")
    assert "## RTE\n\nNo run is finished yet." in printed
    assert "MRPC" not in printed


def test_without_matplotlib_the_other_files_are_written(group, report, capsys, monkeypatch):
    monkeypatch.setattr(plots, "available", lambda: False)
    assert report() == 0
    note = "* No plots, because matplotlib is not installed: pip install matplotlib."
    assert note in capsys.readouterr().out
    written = {path.name for path in (group / "report").iterdir()}
    assert written == {"report.html", "report.md", "report.csv", "differences.csv"}


def test_damaged_and_missing_files_are_noted(group, report, capsys):
    run = next(group.glob("*kd-3_4_5*seed2*"))
    (run / "result.json").write_text('{"metric": "accuracy", "best"')
    (group / "notes").mkdir()  # a folder of the user, which is not a run

    assert report() == 0
    notes = capsys.readouterr().out.split("## Notes")[1]
    assert f"* {run / 'result.json'} is invalid (JSONDecodeError" in notes


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--group", "h"], r".*/runs/h does not exist: give the --out and --group"),
        (["--task", "rte"], "--task RTE has no runs in this group: choose among SST-2"),
        (["--task", "xyz"], "--task xyz has no runs in this group: choose among SST-2"),
        (["--baseline", "lad"], "--baseline lad has no runs in this group: choose among att_kl_learn and kd"),
        (["--init", "1,2"], "--init 1,2 has no runs in this group: choose among 0,1,2 and 3,4,5"),
        (["--samples", "20"], "argument --samples: 20 are too few for an interval: give 100 or more"),
    ],
)
def test_an_invalid_request_is_one_message_and_keeps_the_old_report(group, report, capsys, more, message):
    (group / "report").mkdir()
    (group / "report" / "report.md").write_text("old")
    with pytest.raises(SystemExit) as exit:
        report(*more)
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert re.match("Cannot start: " + message, error)
    assert error.count("\n") == 1
    assert [path.read_text() for path in (group / "report").iterdir()] == ["old"]


def test_group_without_the_default_baseline_is_reported_with_a_note(tmp_path, capsys):
    for method in ("none", "crd"):
        write_run(tmp_path / "g", spec(method, mapping=""), classes_with(20))
    command = ["--out", str(tmp_path), "--group", "g", "--samples", "100"]
    assert main(command) == 0
    assert (
        "* No cell has the baseline method kd: give --baseline, one of none and crd."
        in capsys.readouterr().out
    )
    assert main([*command, "--baseline", "none"]) == 0
    printed = capsys.readouterr().out
    assert "vs none [95 %]" in printed
    assert "No cell has" not in printed


def test_group_without_finished_runs_or_without_runs_is_an_error(group, report, capsys):
    for path in group.glob("*/result.json"):
        path.unlink()
    with pytest.raises(SystemExit):
        report()
    assert capsys.readouterr().err.startswith("Cannot start: none of the 12 runs in ")

    (group.parent / "empty").mkdir()
    with pytest.raises(SystemExit):
        report("--group", "empty")
    assert "has no runs: give the --out and --group" in capsys.readouterr().err
