import re
from dataclasses import replace

import numpy as np
import pytest

from launcher.report.comparison import compare
from launcher.report.study import find_baseline, find_init
from launcher.results.cells import differing, group_runs, setting, sorted_cells
from tests.launcher.report.folders import (
    LABELS,
    classes_with,
    read,
    spec,
    write_predictions,
    write_run,
    write_two_stages,
)


@pytest.fixture
def compared(tmp_path):
    """Return a function that compares all runs and returns kd, the method, the comparisons and the notes."""

    def call():
        runs = read(tmp_path)
        notes = []
        comparisons = compare(runs, "valid", "accuracy", samples=200, seed=1, note=notes.append)
        baseline, ours = sorted_cells(group_runs(runs, pytest.fail), "kd")
        return comparisons(ours, baseline), notes

    return call


def test_interval_equals_that_of_samples_drawn_by_hand(tmp_path, compared):
    wrong = {("kd", 1): 20, ("kd", 2): 30, ("crd", 1): [3, 50, 61], ("crd", 2): 33}
    right = {}
    for (method, seed), mistakes in wrong.items():
        write_run(tmp_path, spec(method, mapping="", seed=seed), classes_with(mistakes))
        right[method, seed] = classes_with(mistakes).argmax(-1) == LABELS

    sentences, seeds = np.random.default_rng(1), np.random.default_rng([1, 2])
    by_hand = []
    for _ in range(200):
        drawn = sentences.integers(0, 200, 200)
        of_seed = [right["crd", seed][drawn].mean() - right["kd", seed][drawn].mean() for seed in (1, 2)]
        by_hand.append(100 * np.mean([of_seed[place] for place in seeds.integers(0, 2, 2)]))

    found, _ = compared()
    assert found.value == pytest.approx(
        100 * (17 - 3) / 400
    )  # 20 - 3 of the first seed, 30 - 33 of the second
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])))


def test_only_seeds_of_both_cells_are_compared(tmp_path, compared):
    for seed, wrong in ((1, 20), (2, 30)):
        write_run(tmp_path, spec(seed=seed), classes_with(wrong))
    for seed, wrong in ((2, 24), (3, 0)):
        write_run(tmp_path, spec("crd", mapping="", seed=seed), classes_with(wrong))

    found, notes = compared()
    assert (found.value, found.seeds, found.sentences) == (3, 1, 200)  # 30 - 24 of 200 sentences
    assert found.low < 3 < found.high
    assert notes == []


def test_cells_without_predictions_are_not_compared_and_noted_with_a_fix(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    without = write_run(tmp_path, spec("crd", mapping=""), classes_with(10), predictions=False)

    found, (note,) = compared()
    assert found is None
    assert note.startswith("1 of 2 finished runs of SST-2 have no predictions of valid")
    assert str(without) in note
    assert "run experiments.py again, or scripts/predict.py" in note


def test_other_labels_are_refused_naming_both_files(tmp_path, compared):
    first = write_run(tmp_path, spec(), classes_with(20))
    second = write_run(tmp_path, spec("crd", mapping=""), classes_with(20, 1 - LABELS), 1 - LABELS)

    found, (note,) = compared()
    assert found is None
    for run in (first, second):
        assert str(run / "predictions" / "valid.npz") in note


def test_labels_of_most_runs_are_compared_if_those_of_the_first_differ(tmp_path, compared):
    for seed, wrong in ((1, 20), (2, 30)):
        write_run(tmp_path, spec(seed=seed), classes_with(wrong))
    for seed, wrong in ((1, 10), (2, 14)):
        write_run(tmp_path, spec("crd", mapping="", seed=seed), classes_with(wrong))
    first = read(tmp_path)[0]
    assert (first.spec.method, first.spec.seed) == ("crd", 1)
    stale = write_predictions(first.folder, classes_with(10, 1 - LABELS), 1 - LABELS)

    found, (note,) = compared()
    assert (found.value, found.seeds) == (8, 1)  # 30 - 14 of 200 sentences
    assert re.search(
        f"and {re.escape(str(stale))} have labels of different sentences, so the second is", note
    )


def test_predictions_of_another_checkpoint_are_noted(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    wrong = write_run(tmp_path, spec("crd", mapping=""), classes_with(20), score=90.5)

    found, (note,) = compared()
    assert found.value == 0  # from the saved predictions
    assert note.startswith(f"{wrong} logged accuracy 90.5000 on valid, but its predictions give 90.0000")


@pytest.mark.parametrize(
    ("metric", "predictions", "told"),
    [
        ("pearson", True, "valid.npz is not compared: pearson cannot be computed from 2 logits"),
        ("accuracy", False, "2 of 2 finished runs of SST-2 have no predictions of valid"),
    ],
)
def test_without_scores_nothing_is_compared(tmp_path, metric, predictions, told):
    for method in ("kd", "crd"):
        write_run(tmp_path, spec(method, mapping=""), classes_with(20), predictions=predictions)
    notes = []
    runs = read(tmp_path)
    comparisons = compare(runs, "valid", metric, samples=20, seed=1, note=notes.append)
    baseline, ours = sorted_cells(group_runs(runs, pytest.fail), "kd")
    assert comparisons(ours, baseline) is None
    assert [told in note for note in notes] == [True]


def test_rounding_is_not_noted(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20), score=90.0004)
    write_run(tmp_path, spec("crd", mapping=""), classes_with(10))
    assert compared()[1] == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: np.savez(path, labels=LABELS), "cannot be read"),
        (lambda path: np.savez(path, logits=np.array([{}]), labels=LABELS), "cannot be read"),  # pickled
        (
            lambda path: np.savez(path, logits=np.zeros((3, 2)), labels=LABELS),
            r"logits \(3, 2\) and labels \(200,\)",
        ),
        (lambda path: np.savez(path, logits=np.zeros((200, 2)), labels=LABELS + 1), "not classes 0..1"),
        (lambda path: np.savez(path, logits=np.full((200, 2), np.nan), labels=LABELS), "not finite"),
    ],
)
def test_damaged_predictions_give_one_note(tmp_path, compared, damage, message):
    write_run(tmp_path, spec(), classes_with(20))
    run = write_run(tmp_path, spec("crd", mapping=""), classes_with(20))
    damage(run / "predictions" / "valid.npz")

    found, (note,) = compared()
    assert found is None
    assert note.startswith(str(run / "predictions" / "valid.npz"))
    assert re.search(message, note)


def test_split_without_labels_is_not_compared(tmp_path, compared):
    write_run(tmp_path, spec(), classes_with(20))
    run = write_run(tmp_path, spec("crd", mapping=""), classes_with(20))
    np.savez(write_predictions(run, classes_with(20)), logits=classes_with(20))
    found, (note,) = compared()
    assert found is None
    assert "have no predictions of valid" in note


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
    text = {"overrides": {"--unlabelled-subset": "unlabelled"}, "updates": 4000, "warmup": 240}
    runs = [spec("none"), spec("kd", **text), spec("hidden_mse_learn", **text), spec("kd")]
    for run in runs:
        write_run(tmp_path, run, classes_with(10))
    cells = found(tmp_path)
    of = {(cell.method, bool(cell.settings["flags"])): cell for cell in cells}

    assert find_baseline(of["kd", True], cells, "none") is of["none", False]
    assert find_baseline(of["hidden_mse_learn", True], cells, "none") is of["none", False]
    # A teacher reads the text, so kd with the same text is the baseline.
    assert find_baseline(of["hidden_mse_learn", True], cells, "kd") is of["kd", True]


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
