import shutil
from dataclasses import replace

import pytest

from launcher.results.cells import differing, group_runs, init_order, setting, sorted_cells
from launcher.results.runs import Score
from tests.launcher.report.folders import classes_with, read, spec, write_run, write_two_stages

ACCURACY = Score("valid", "accuracy")


def found(group):
    return sorted_cells(group_runs(read(group), pytest.fail), "kd")


def test_runs_that_differ_only_by_seed_form_a_cell(tmp_path):
    for seed, wrong in ((1, 40), (2, 36), (3, 26)):  # 80, 82, 87 % right
        write_run(tmp_path, spec(seed=seed), classes_with(wrong))
    write_run(tmp_path, spec(epochs=3), classes_with(0))

    short, long = found(tmp_path)
    assert list(short.runs) == [1, 2, 3]
    assert short.average(ACCURACY) == (83.0, pytest.approx(13**0.5))
    assert (long.average(ACCURACY), long.planned) == ((100.0, None), 3)


def test_cost_per_seed_includes_the_first_stage_or_its_share(tmp_path):
    shared = spec("crd", mapping="", stage="first")
    write_run(tmp_path, shared, score=0.5, metric="loss", seconds=60.0, peak_gb=2.5)
    for seed in (1, 2):
        second = spec("crd", mapping="", stage="second", seed=seed, after=shared.name)
        write_run(tmp_path, second, classes_with(4), seconds=100.0, peak_gb=1.5)
    write_run(tmp_path, spec("none"), classes_with(4), seconds=40.0)

    alone, two = found(tmp_path)
    assert (two.stages, two.seconds, two.peak_gb) == ("two", (60 + 100 + 100) / 2, 2.5)
    assert (alone.seconds, alone.peak_gb) == (40, None)  # an older run did not record its memory


def test_unfinished_runs_form_cells_and_first_stages_alone_do_not(tmp_path):
    for run in (spec(), spec("att_kl_learn", stage="first")):
        (write_run(tmp_path, run, score=1.0) / "result.json").unlink()
    write_run(tmp_path, spec(seed=2, init="3,4,5"), classes_with(4))

    unfinished, finished = found(tmp_path)
    assert (unfinished.init, unfinished.runs, unfinished.planned, unfinished.seconds) == (
        "0,1,2",
        {},
        2,
        None,
    )
    assert (finished.init, list(finished.runs)) == ("3,4,5", [2])


def test_cells_are_sorted(tmp_path):
    for method in ("crd", "kd", "none"):
        for init in ("random:3", "10,11", "2,3"):
            write_run(tmp_path, spec(method, init, mapping=""), classes_with(4))
    assert [(cell.method, cell.init) for cell in found(tmp_path)] == [
        (method, init) for method in ("none", "kd", "crd") for init in ("2,3", "10,11", "random:3")
    ]
    assert sorted(["random:3", "all", "10,2", "2,11"], key=init_order) == ["2,11", "10,2", "all", "random:3"]


def test_only_settings_that_differ_are_shown(tmp_path):
    write_run(tmp_path, spec(), classes_with(4))
    write_run(tmp_path, spec(epochs=4, updates=1000, warmup=60), classes_with(4))
    write_run(tmp_path, spec("none", overrides={"--clip-norm": "1.0 x"}, teacher="u" * 64), classes_with(4))
    write_two_stages(tmp_path, spec("crd", mapping=""), classes_with(4), first={"epochs": 7})

    several = found(tmp_path)
    assert differing(several) == ["epochs", "teacher", "flags", "stage 1 epochs"]
    assert differing(
        [
            replace(cell, settings={**cell.settings, "epochs": 2, "updates": n})
            for n, cell in enumerate([several[1]] * 2)
        ]
    ) == ["updates"]  # a derived setting, if nothing else differs
    alone = several[0]
    assert [setting(alone, name) for name in differing(several)] == [
        "2",
        "uuuuuuu",
        "--clip-norm '1.0 x'",
        "",
    ]
    assert setting(several[-1], "stage 1 epochs") == "7"


def test_seeds_with_their_own_first_stages_form_a_cell(tmp_path):
    listed = [spec(init="minilm", stage="second", seed=seed, start=f"{seed}" * 64) for seed in (1, 2)]
    for run in listed:
        write_run(tmp_path, replace(run, start_of_seed=True), classes_with(4))
    [cell] = found(tmp_path)
    assert list(cell.runs) == [1, 2]
    for run in listed:  # each model was listed separately
        write_run(tmp_path, run, classes_with(4))
    assert len(found(tmp_path)) == 3


def without_first_stages(group):
    for path in group.glob("*-first-*"):
        shutil.rmtree(path)


def test_deleted_first_stages_are_inferred_from_the_second_stage(tmp_path):
    for seed in (1, 2):
        for epochs in (2, 4):
            weights = {"--hard-weight": "0.3"} if epochs == 4 else {}  # a first stage has no such weights
            run = spec("crd", mapping="", seed=seed, epochs=epochs, overrides=weights)
            write_two_stages(tmp_path, run, classes_with(4), first={"overrides": {}})
    without_first_stages(tmp_path)
    notes = []
    several = group_runs(read(tmp_path), notes.append)
    assert sorted((cell.settings["epochs"], sorted(cell.runs)) for cell in several) == [
        (2, [1, 2]),
        (4, [1, 2]),
    ]
    assert [name for cell in several for name in cell.settings if name.startswith("stage 1 ")] == []
    [note] = notes
    assert note.startswith(
        "4 runs started from first stages that no longer exist, such as SST-2-crd-0_1_2-first-"
    )
    assert "training time" in note


def test_runs_with_unknown_first_stages_are_never_averaged(tmp_path):
    for seed, epochs, wrong in ((1, 5, 4), (2, 5, 6), (2, 7, 8)):
        run = spec("crd", mapping="", seed=seed)
        write_two_stages(tmp_path, run, classes_with(wrong), first={"epochs": epochs})
    without_first_stages(tmp_path)
    write_two_stages(tmp_path, spec("crd", mapping="", seed=3), classes_with(10))
    notes = []
    several = group_runs(read(tmp_path), notes.append)
    assert sorted(cell.scores(ACCURACY).popitem() for cell in several) == [
        (1, 98.0),
        (2, 96.0),
        (2, 97.0),
        (3, 95.0),
    ]
    assert notes[-1].endswith(": each first stage has its own cell")
    assert differing(several) == ["stage 1 run"]


def test_copy_of_a_run_counts_once_and_is_noted(tmp_path):
    run = write_run(tmp_path, spec(), classes_with(4))
    shutil.copytree(run, tmp_path / "a-copy")
    notes = []
    [cell] = sorted_cells(group_runs(read(tmp_path), notes.append), "kd")
    assert cell.runs[1].folder == run
    assert notes == [
        f"{tmp_path / 'a-copy'} has the same cell and seed as {run} and is omitted: move one of them elsewhere"
    ]
