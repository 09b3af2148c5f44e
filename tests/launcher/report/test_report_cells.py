import shutil
from dataclasses import replace

import pytest

from launcher.report.cells import cells, differing, init_order, setting
from launcher.report.pairs import find_baseline, find_init
from launcher.report.scores import Score
from tests.launcher.report.folders import classes_with, read, spec, write_run, write_two_stages

ACCURACY = Score("valid", "accuracy")


def found(group):
    return cells(read(group), "kd", pytest.fail)


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
    write_run(tmp_path, spec("none", flags=("--clip-norm", "1.0 x"), teacher="u" * 64), classes_with(4))
    write_two_stages(tmp_path, spec("crd", mapping=""), classes_with(4), first={"epochs": 7})

    several = found(tmp_path)
    assert differing(several) == ["epochs", "teacher", "flags", "stage 1 epochs"]
    alone = several[0]
    assert [setting(alone, name) for name in differing(several)] == [
        "2",
        "uuuuuuu",
        "--clip-norm '1.0 x'",
        "",
    ]
    assert setting(several[-1], "stage 1 epochs") == "7"


def test_derived_setting_is_shown_only_if_nothing_else_differs(tmp_path):
    for updates in (500, 400):
        write_run(tmp_path, spec(updates=updates), classes_with(4))
    assert differing(found(tmp_path)) == ["updates"]


def test_baseline_has_the_same_init_and_settings(tmp_path):
    for run in (spec(), spec(epochs=4), spec(init="3,4,5"), spec(init="1,3,5", lr=1e-4)):
        write_run(tmp_path, run, classes_with(4))
    write_two_stages(tmp_path, spec("att_kl_learn", epochs=4), classes_with(4), first={"epochs": 1})
    write_run(tmp_path, spec("att_kl_learn", init="1,3,5"), classes_with(4))
    everything = found(tmp_path)
    *_, without, with_two = everything

    baseline = find_baseline(with_two, everything, "kd")
    assert (baseline.init, baseline.settings["epochs"]) == ("0,1,2", 4)
    assert find_baseline(without, everything, "kd") is None  # no kd from 1,3,5 at this learning rate


def test_second_stages_from_the_last_checkpoint_form_a_cell_with_the_same_baseline(tmp_path):
    write_run(tmp_path, spec(), classes_with(4))
    first = spec("att_kl_learn", stage="first")
    write_run(tmp_path, first, score=0.5, metric="loss")
    second = spec("att_kl_learn", stage="second", after=first.name)
    for run in (second, replace(second, stage2_from="last")):
        write_run(tmp_path, run, classes_with(4))

    everything = kd, *two = found(tmp_path)
    assert differing(two) == ["stage 1 checkpoint"]
    assert [setting(cell, "stage 1 checkpoint") for cell in two] == ["last", ""]
    assert [find_baseline(cell, everything, "kd") for cell in two] == [kd, kd]

    shutil.rmtree(tmp_path / first.name)  # the first stage is still known, by the settings of the second
    assert len(found(tmp_path)) == 3


def test_seeds_with_their_own_first_stages_form_a_cell(tmp_path):
    listed = [spec(init="minilm", stage="second", seed=seed, start=f"{seed}" * 64) for seed in (1, 2)]
    for run in listed:
        write_run(tmp_path, replace(run, start_of_seed=True), classes_with(4))
    [cell] = found(tmp_path)
    assert list(cell.runs) == [1, 2]
    for run in listed:  # each model was listed separately
        write_run(tmp_path, run, classes_with(4))
    assert len(found(tmp_path)) == 3


def test_flags_unknown_to_the_baselines_criterion_are_ignored(tmp_path):
    clip, weight, keep = ("--clip-norm", "1.0"), ("--inter-weight", "100"), ("--hsk-keep", "1l")
    for method, flags in {
        "kd": clip,
        "hidden_mse_learn": (*clip, *weight),
        "hsk": (*clip, *weight, *keep),
        "crd": weight,
        "a_method_of_before": (*clip, *weight),
    }.items():
        write_run(tmp_path, spec(method, mapping="", flags=flags), classes_with(4))
    everything = found(tmp_path)

    def of(baseline):
        pairs = ((cell, find_baseline(cell, everything, baseline)) for cell in everything)
        return {cell.method: other.method for cell, other in pairs if other is not None}

    assert of("kd") == dict.fromkeys(("kd", "hidden_mse_learn", "hsk", "a_method_of_before"), "kd")
    assert of("hidden_mse_learn") == dict.fromkeys(
        ("hidden_mse_learn", "hsk", "a_method_of_before"), "hidden_mse_learn"
    )
    assert of("a_method_of_before") == dict.fromkeys(
        ("hidden_mse_learn", "a_method_of_before"), "a_method_of_before"
    )


def test_weights_are_ignored_without_a_teacher_and_in_first_stages(tmp_path):
    tried = ("--bf16", "--temperature", "4")
    write_run(tmp_path / "now", spec("none", flags=("--bf16",)), classes_with(4))
    write_run(tmp_path / "before", spec("none", flags=tried), classes_with(4))
    for group in ("now", "before"):
        write_run(tmp_path / group, spec(flags=tried), classes_with(4))
        [none, kd] = found(tmp_path / group)
        assert find_baseline(kd, [none, kd], "none") is none

    write_run(tmp_path / "before", spec("none", flags=("--temperature", "8", "--bf16")), classes_with(4))
    *several, kd = found(tmp_path / "before")
    assert find_baseline(kd, several, "none").settings["flags"] == tried

    write_two_stages(
        tmp_path / "two", spec("att_kl_learn", flags=tried), classes_with(4), first={"flags": ("--bf16",)}
    )
    [cell] = found(tmp_path / "two")
    assert not [name for name in cell.settings if name.startswith("stage 1 ")]


def test_of_several_baselines_the_one_with_equal_mapping_and_stages_is_used(tmp_path):
    for mapping in ("skip", "last"):
        write_run(tmp_path, spec("hidden_mse_learn", mapping=mapping), classes_with(4))
        write_run(tmp_path, spec("att_kl_learn", mapping=mapping), classes_with(4))
    write_run(tmp_path, spec("crd", mapping=""), classes_with(4))
    everything = found(tmp_path)

    baselines = {
        (cell.method, cell.mapping): find_baseline(cell, everything, "hidden_mse_learn")
        for cell in everything
    }
    assert baselines["att_kl_learn", "last"].mapping == "last"
    assert baselines["crd", ""] is None  # which of the two is meant is unknown


def test_cell_with_the_first_init_is_found(tmp_path):
    for init in ("0,1,2", "3,4,5"):
        for mapping in ("skip", "last"):
            write_run(tmp_path, spec("att_kl_learn", init, mapping=mapping), classes_with(4))
    write_run(tmp_path, replace(spec("crd", "3,4,5"), mapping=""), classes_with(4))
    everything = found(tmp_path)

    last = next(cell for cell in everything if (cell.init, cell.mapping) == ("3,4,5", "last"))
    reference = find_init(last, everything, "0,1,2")
    assert (reference.init, reference.mapping) == ("0,1,2", "last")
    assert find_init(next(cell for cell in everything if cell.method == "crd"), everything, "0,1,2") is None


def without_first_stages(group, seeds=(1, 2, 3, 4)):
    for path in group.glob("*-first-*"):
        if any(f"-seed{seed}-" in path.name for seed in seeds):
            shutil.rmtree(path)


def scored(group, notes):
    several = cells(read(group), "kd", notes.append)
    return [(cell.settings.get("stage 1 epochs"), sorted(cell.runs)) for cell in several]


@pytest.mark.parametrize("gone", [(), (1,)])
def test_deleted_first_stages_are_inferred_from_other_seeds(tmp_path, gone):
    for seed in (1, 2):
        for epochs in (5, 7):
            run = spec("crd", mapping="", seed=seed)
            write_two_stages(tmp_path, run, classes_with(4), first={"epochs": epochs})
    without_first_stages(tmp_path, gone)
    notes = []
    assert scored(tmp_path, notes) == [(5, [1, 2]), (7, [1, 2])]
    assert notes == []


def test_deleted_first_stages_are_inferred_from_the_second_stage(tmp_path):
    for seed in (1, 2):
        for epochs in (2, 4):
            weighed = ("--hard-weight", "0.3") if epochs == 4 else ()  # a first stage has no such weights
            run = spec("crd", mapping="", seed=seed, epochs=epochs, flags=weighed)
            write_two_stages(tmp_path, run, classes_with(4), first={"flags": ()})
    without_first_stages(tmp_path)
    several = found(tmp_path)
    assert [(cell.settings["epochs"], sorted(cell.runs)) for cell in several] == [(2, [1, 2]), (4, [1, 2])]


def test_runs_with_unknown_first_stages_form_a_cell_if_their_seeds_differ(tmp_path):
    for seed in (1, 2):
        write_two_stages(tmp_path, spec("crd", mapping="", seed=seed), classes_with(4), first={"epochs": 5})
    without_first_stages(tmp_path)
    notes = []
    assert scored(tmp_path, notes) == [(None, [1, 2])]
    [note] = notes
    assert note.startswith(
        "2 runs started from first stages that no longer exist, such as SST-2-crd-0_1_2-first-seed1-"
    )
    assert note.endswith(": they form one cell, though their first stages may differ")

    write_two_stages(tmp_path, spec("crd", mapping="", seed=2), classes_with(6), first={"epochs": 7})
    without_first_stages(tmp_path)
    notes = []
    assert sorted(scored(tmp_path, notes)) == [(None, [1]), (None, [2]), (None, [2])]
    [note] = notes
    assert note.endswith(": each first stage has its own cell")


def test_unknown_first_stages_differ_from_existing_ones(tmp_path):
    write_two_stages(tmp_path, spec("crd", mapping="", seed=1), classes_with(4), first={"epochs": 5})
    without_first_stages(tmp_path)
    write_two_stages(tmp_path, spec("crd", mapping="", seed=2), classes_with(4))
    several = cells(read(tmp_path), "kd", [].append)
    shown = {tuple(cell.runs): [setting(cell, name) for name in differing(several)] for cell in several}
    assert shown == {(1,): ["unknown"], (2,): [""]}


def test_copy_of_a_run_counts_once_and_is_noted(tmp_path):
    run = write_run(tmp_path, spec(), classes_with(4))
    shutil.copytree(run, tmp_path / "a-copy")
    notes = []
    [cell] = cells(read(tmp_path), "kd", notes.append)
    assert cell.runs[1].folder == run
    assert notes == [
        f"{tmp_path / 'a-copy'} has the same cell and seed as {run} and is omitted: move one of them elsewhere"
    ]
