"""The tables and notes of a report."""

import json

import numpy as np
import pytest

from launcher.report.command import main
from tests.launcher.report.folders import (
    classes_with,
    lines,
    spec,
    table,
    write_predictions,
    write_run,
    write_two_stages,
)


def test_csv_files(group, report):
    report()
    cells = lines(group / "report" / "report.csv")
    assert [(row["method"], row["init"], row["mean"], row["seeds"], row["best"]) for row in cells] == [
        ("kd", "0,1,2", "89.0000", "2", "0"),
        ("kd", "3,4,5", "79.0000", "2", "0"),
        ("att_kl_learn", "0,1,2", "91.5000", "2", "1"),
        ("att_kl_learn", "3,4,5", "78.0000", "2", "0"),
    ]
    assert (cells[2]["seconds"], cells[2]["seconds_per_seed"], cells[2]["peak_gb"]) == (
        "300.0",
        "150.0",
        "3.000",
    )
    assert cells[0]["valid_accuracy_by_seed"] == "1:90.0 2:88.0"

    differences = lines(group / "report" / "differences.csv")
    found = {(row["method"], row["init"], row["minus_method"], row["minus_init"]): row for row in differences}
    assert {key: float(row["difference"]) for key, row in found.items()} == pytest.approx({
        ("kd", "3,4,5", "kd", "0,1,2"): -10,
        ("att_kl_learn", "0,1,2", "kd", "0,1,2"): 2.5,
        ("att_kl_learn", "3,4,5", "kd", "3,4,5"): -1,
        ("att_kl_learn", "3,4,5", "att_kl_learn", "0,1,2"): -13.5,
    })  # fmt: skip
    row = found["att_kl_learn", "0,1,2", "kd", "0,1,2"]
    assert (row["split"], row["metric"], row["seeds"], row["sentences"]) == ("valid", "accuracy", "2", "200")
    assert float(row["low"]) < 2.5 < float(row["high"])


def trained_by(group, pattern, commit, torch="2.4", gpu=None, modified=False):
    """Record the provenance of runs."""
    for path in group.glob(f"{pattern}/result.json"):
        machine = {"system": "Linux", "cores": 4, "cpu": "A CPU", "gpu": gpu, "slots": 1}
        content = {"commit": commit, "modified": modified, "versions": {"torch": torch}, "machine": machine}
        path.write_text(json.dumps({**json.loads(path.read_text()), **content}))


def notes_of(report, capsys) -> list[str]:
    assert report() == 0
    _, _, notes = capsys.readouterr().out.partition("## Notes")
    return [line for line in notes.splitlines() if line.startswith("* ")]


def test_different_provenance_is_noted_and_commits_are_in_the_csv(group, report, capsys):
    trained_by(group, "*kd-0_1_2*", "a" * 40)  # the others record nothing, as in earlier versions
    assert notes_of(report, capsys) == []
    trained_by(group, "*", "a" * 40)
    trained_by(group, "*kd-3_4_5*seed2*", "b" * 40, torch="2.5", gpu="A GPU", modified=True)
    mixed = "; 1 of 4 cells average over several."
    assert notes_of(report, capsys) == [
        f"* runs were trained with different commits (number of runs), aaaaaaa (11), bbbbbbb-modified (1){mixed}",
        f"* runs were trained with different versions of torch (number of runs), 2.4 (11), 2.5 (1){mixed}",
        f"* runs were trained with different GPUs or processors (number of runs), A CPU (11), A GPU (1){mixed}",
        "* 1 of 12 runs were trained with uncommitted changes in the code.",
    ]
    rows = lines(group / "report" / "report.csv")
    assert [row["commits"] for row in rows] == [
        "aaaaaaa:2", "aaaaaaa:1 bbbbbbb-modified:1", "aaaaaaa:4", "aaaaaaa:4"
    ]  # fmt: skip


def test_the_other_metrics_and_splits_of_a_task(tmp_path, capsys):
    group = tmp_path / "g"
    for method in ("kd", "crd"):
        more = {"valid": {"accuracy": 90.0, "f1": 90.0, "mcc": 80.0}}
        write_run(group, spec(method, task="MRPC", mapping=""), classes_with(20), more=more)
        run = spec(method, task="MNLI", mapping="")
        folder = write_run(group, run, classes_with(20), more={"valid1": {"accuracy": 80.0, "mcc": 60.0}})
        write_predictions(folder, classes_with(40), split="valid1")
        values = np.linspace(0, 1, 200)
        more = {"valid": {"pearson": 100.0, "spearman": 100.0}}
        run = spec(method, task="STS-B", mapping="")
        write_run(group, run, values[:, None], values, metric="pearson", more=more)

    assert main(["--out", str(tmp_path), "--group", "g", "--samples", "100"]) == 0
    printed = capsys.readouterr().out
    assert "## Notes" not in printed
    for task, titles in (
        ("MRPC", ["accuracy", "F1"]),
        ("MNLI", ["accuracy, matched", "accuracy, mismatched"]),
        ("STS-B", ["Pearson", "Spearman"]),
    ):
        assert table(printed, f"## {task}")[0][4:6] == titles
    differences = lines(group / "report" / "differences.csv")
    assert {(row["task"], row["split"], row["metric"], float(row["difference"])) for row in differences} == {
        ("MNLI", "valid", "accuracy", 0), ("MNLI", "valid1", "accuracy", 0),
        ("MRPC", "valid", "accuracy", 0), ("MRPC", "valid", "f1", 0),
        ("STS-B", "valid", "pearson", 0), ("STS-B", "valid", "spearman", 0),
    }  # fmt: skip


@pytest.fixture
def finetuned(tmp_path):
    """Write a pre-trained student and the same without it, two batch sizes and rates each, one combination unfinished."""
    wrong = {("trained", 16, 1e-5): (20, 24), ("trained", 32, 8e-5): (10, 12), ("trained", 16, 8e-5): (2,),
             ("untrained", 16, 1e-5): (60, 64), ("untrained", 32, 8e-5): (70, 74)}  # fmt: skip
    for (init, batch_size, lr), of_seeds in wrong.items():
        for seed, mistakes in enumerate(of_seeds, start=1):
            changes = {
                "start": init,
                "teacher": "",
                "batch_size": batch_size,
                "lr": lr,
                "updates": 8000 // batch_size,
            }
            changes["layers"] = "all" if init == "trained" else "random:3"
            write_run(tmp_path / "g", spec("none", init, seed, **changes), classes_with(mistakes))
    return tmp_path


def test_tuned_cell_is_reported_with_its_best_and_all_tried_ones(finetuned, capsys):
    assert main(["--out", str(finetuned), "--group", "g", "--samples", "500", "--init", "untrained"]) == 0
    printed = capsys.readouterr().out
    header, _, *rows = table(printed, "## SST-2")
    assert header[4:] == ["accuracy", "chosen", "batch", "lr", "seeds", "seconds a seed", "peak GiB"]
    assert [row[1:2] + row[4:9] for row in rows] == [
        ["trained", "**94.50 ± 0.71**", "best of 2 of 3", "32", "8e-05", "2"],
        ["untrained", "69.00 ± 1.41", "best of 2", "16", "1e-05", "2"],
    ]

    header, _, *rows = table(printed, "All batch sizes and learning rates tried, accuracy, mean over seeds:")
    assert header[4:] == ["16, 1e-05", "16, 8e-05", "32, 8e-05"]
    assert [row[4:] for row in rows] == [["89.00", "99.00", "**94.50**"], ["**69.00**", "-", "64.00"]]

    header, _, row = table(printed, "Difference to init untrained, accuracy:")
    assert (header[3:], row[3]) == (["untrained", "trained"], "69.00 ± 1.41")
    assert row[4].startswith("+25.50 [")
    assert "they increase with the number of combinations tried: compare rows with equal numbers" in printed
    assert "## Notes" not in printed

    cells = lines(finetuned / "g" / "report" / "report.csv")
    columns = ("init", "batch_size", "lr", "mean", "tried", "best_of_tried")
    assert [tuple(row[name] for name in columns) for row in cells] == [
        ("trained", "16", "1e-05", "89.0000", "3", "0"),
        ("trained", "16", "8e-05", "99.0000", "3", "0"),
        ("trained", "32", "8e-05", "94.5000", "3", "1"),
        ("untrained", "16", "1e-05", "69.0000", "2", "1"),
        ("untrained", "32", "8e-05", "64.0000", "2", "0"),
    ]  # fmt: skip


def test_method_is_compared_with_the_best_tuned_baseline(tmp_path, capsys):
    for lr, wrong in ((1e-5, 40), (3e-5, 20)):
        write_run(tmp_path / "g", spec(lr=lr), classes_with(wrong))
        write_run(tmp_path / "g", spec("crd", mapping="", lr=lr), classes_with(50 - wrong))
    assert main(["--out", str(tmp_path), "--group", "g", "--samples", "100"]) == 0
    _, _, kd, crd = table(capsys.readouterr().out, "## SST-2")
    assert kd[4:9] == ["90.00", "best of 2", "32", "3e-05", "-"]
    assert crd[4:8] == ["**95.00**", "best of 2", "32", "1e-05"]
    assert crd[8].startswith("+5.00 [")


def test_flags_of_all_runs_are_not_repeated_for_first_stages(tmp_path, capsys):
    common = {"--autocast": "bf16"}
    first = {"overrides": common | {"--hsk-keep": "1l"}, "method": "hsk"}
    write_run(tmp_path / "g", spec(overrides=common), classes_with(20))
    write_two_stages(tmp_path / "g", spec("hsk", overrides=common), classes_with(10), first=first)
    assert main(["--out", str(tmp_path), "--group", "g", "--samples", "100"]) == 0
    printed = capsys.readouterr().out
    header, _, kd, hsk = table(printed, "## SST-2")
    assert [row[header.index("stage 1 flags")] for row in (kd, hsk)] == ["-", "--hsk-keep 1l"]
    assert "All cells have `--autocast bf16`." in printed
