"""Which cell another one is compared with."""

from dataclasses import replace

import pytest

from launcher.report.study import find_baseline, find_init
from launcher.results.cells import differing, group_runs, setting, sorted_cells
from tests.launcher.report.folders import classes_with, read, spec, write_run, write_two_stages


def found(group):
    return sorted_cells(group_runs(read(group), pytest.fail), "kd")


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


def test_flags_unknown_to_the_baselines_criterion_are_ignored(tmp_path):
    clip, weight, keep = {"--clip-norm": "1.0"}, {"--inter-weight": "100"}, {"--hsk-keep": "1l"}
    for method, overrides in {
        "kd": clip,
        "hidden_mse_learn": clip | weight,
        "hsk": clip | weight | keep,
        "crd": weight,
        "a_method_of_before": clip | weight,
    }.items():
        write_run(tmp_path, spec(method, mapping="", overrides=overrides), classes_with(4))
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
    bf16 = {"--bf16": True}
    tried = bf16 | {"--temperature": "4"}
    write_run(tmp_path / "now", spec("none", overrides=bf16), classes_with(4))
    write_run(tmp_path / "before", spec("none", overrides=tried), classes_with(4))
    for group in ("now", "before"):
        write_run(tmp_path / group, spec(overrides=tried), classes_with(4))
        [none, kd] = found(tmp_path / group)
        assert find_baseline(kd, [none, kd], "none") is none

    write_run(tmp_path / "before", spec("none", overrides={"--temperature": "8"} | bf16), classes_with(4))
    *several, kd = found(tmp_path / "before")
    assert dict(find_baseline(kd, several, "none").settings["flags"]) == tried

    write_two_stages(
        tmp_path / "two", spec("att_kl_learn", overrides=tried), classes_with(4), first={"overrides": bf16}
    )
    [cell] = found(tmp_path / "two")
    assert not [name for name in cell.settings if name.startswith("stage 1 ")]


def test_a_baseline_without_a_teacher_reads_no_unlabelled_text_and_has_its_own_schedule(tmp_path):
    text = {"overrides": {"--unlabelled-subset": "unlabelled"}, "epochs": 5, "updates": 4000, "warmup": 240}
    runs = [spec("none"), spec("kd", **text), spec("hidden_mse_learn", **text), spec("kd")]
    for run in runs:
        write_run(tmp_path, run, classes_with(10))
    cells = found(tmp_path)
    of = {(cell.method, bool(cell.settings["flags"])): cell for cell in cells}

    assert find_baseline(of["kd", True], cells, "none") is of["none", False]
    assert find_baseline(of["hidden_mse_learn", True], cells, "none") is of["none", False]
    # A teacher reads the text, so kd with the same text is the baseline.
    assert find_baseline(of["hidden_mse_learn", True], cells, "kd") is of["kd", True]

    write_run(tmp_path, spec("none", epochs=5), classes_with(10))
    cells = found(tmp_path)
    [kd] = [cell for cell in cells if cell.method == "kd" and cell.settings["flags"]]
    assert find_baseline(kd, cells, "none").settings["epochs"] == kd.settings["epochs"] == 5


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
