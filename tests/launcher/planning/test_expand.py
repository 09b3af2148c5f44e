from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config import Grid, GridConfig
from launcher.datasets import TASKS, Data
from launcher.planning.expand import plan
from launcher.planning.prerequisites import NotReady

DATA = {name: Data(Path(name), task.sentences, "accuracy", ("valid",), name) for name, task in TASKS.items()}
TEACHERS = dict.fromkeys(TASKS, "t")


@pytest.fixture
def planned(methods):
    """Return a function from settings of a grid to its runs."""

    def planned(overrides: dict | None = None, **changes):
        settings = {"task": ["MRPC"], "method": ["att_kl_learn"], "mapping": ["skip"], "seeds": [1]}
        return plan(Grid(GridConfig(**settings | changes), methods, overrides or {}), DATA, TEACHERS, {})

    return planned


def test_lists_multiply_and_each_batch_size_has_its_schedule(planned):
    lists = {
        "task": ["MRPC", "RTE"],
        "init": ["0,1,2", "3,4,5"],
        "mapping": ["skip", "last"],
        "seeds": [1, 2, 3],
    }
    runs = planned(**lists, stage=["one"], batch_size=[16, 32], lr=[1e-5, 8e-5])
    assert len(runs) == len({run.name for run in runs}) == 2 * 2 * 2 * 3 * 2 * 2
    assert {(run.batch_size, run.lr, run.updates, run.warmup) for run in runs if run.task == "MRPC"} == {
        (16, 1e-5, 2296, 137), (16, 8e-5, 2296, 137), (32, 1e-5, 1148, 68), (32, 8e-5, 1148, 68)
    }  # fmt: skip


def test_two_stages_are_two_runs_and_the_second_starts_from_the_first(planned):
    first, second = planned(epochs=3, stage1_epochs=5, lr=[3e-5])
    assert (first.stage, first.epochs, first.after, first.lr) == ("first", 5, "", 3e-5)
    assert (second.stage, second.epochs, second.after, second.lr) == ("second", 3, first.name, 3e-5)

    longer = planned(epochs=4, stage1_epochs=5, lr=[3e-5])
    assert longer[0] == first
    assert longer[1].name != second.name


def test_mappings_and_stages_multiply_only_methods_that_have_them(planned):
    runs = planned(method=["none", "kd", "crd"], mapping=["skip", "last"], stage=["one", "two"])
    assert [run.cell for run in runs] == [
        ("MRPC", "none", "0,1,2", "", "one"),
        ("MRPC", "kd", "0,1,2", "", "one"),
        *(("MRPC", "crd", "0,1,2", "", stage) for stage in ("one", "first", "two")),
    ]
    runs = planned(method=["att_kl_learn", "minilm"], mapping=[], stage=["one"])
    assert [run.mapping for run in runs] == ["skip", "last"]


def test_a_flag_of_one_criterion_reaches_the_runs_that_have_it(planned):
    overrides = {"--bf16": True, "--hsk-keep": "1l_10t_0.1h", "--inter-weight": "10"}
    runs = planned(overrides, method=["none", "kd", "hsk", "crd"])
    bf16, weight = {"--bf16": True}, {"--bf16": True, "--inter-weight": "10"}
    assert {(run.method, run.stage): run.overrides for run in runs} == {
        ("none", "one"): bf16,
        ("kd", "one"): bf16,
        ("hsk", "first"): overrides,
        ("hsk", "second"): bf16,
        ("crd", "first"): weight,
        ("crd", "second"): bf16,
    }


def test_weights_that_a_stage_sets_itself_name_no_run_of_it(planned):
    """Otherwise a search of temperatures would train its first stages, and students without a teacher, once for each."""

    def by_stage(**weights: str):
        runs = planned({"--bf16": True} | weights, method=["none", "kd", "att_kl_learn"])
        return {(run.method, run.stage): run for run in runs}

    weights = {"--temperature": "4", "--soft-weight": "0.7", "--hard-weight": "0.3"}
    plain, tried = by_stage(), by_stage(**weights)
    for key, run in plain.items():
        same = key in {("none", "one"), ("att_kl_learn", "first")}
        assert (tried[key].name == run.name) == same, key
    assert tried["kd", "one"].overrides == {"--bf16": True} | weights
    assert tried["att_kl_learn", "second"].after == plain["att_kl_learn", "first"].name


def test_methods_with_a_teacher_learn_from_unlabelled_splits_and_the_schedule_follows(methods):
    data = Data(Path("d"), 3668, "accuracy", ("valid",), "d", splits={"train": 3668, "unlabelled": 3668})
    settings = {"task": ["MRPC"], "method": ["none", "kd", "crd", "att_kl_learn"], "seeds": [1]}
    config = GridConfig(**settings, unlabelled_subset="unlabelled")
    runs = plan(Grid(config, methods), {"MRPC": data}, TEACHERS, {})
    found = {(run.method, run.stage): (run.overrides.get("--unlabelled-subset"), run.updates) for run in runs}
    assert found == {
        ("none", "one"): (None, 2296),
        ("kd", "one"): ("unlabelled", 4592),
        ("crd", "first"): (None, 2296),  # it needs the class of each sentence
        ("crd", "second"): ("unlabelled", 4592),
        ("att_kl_learn", "first"): ("unlabelled", 4592),
        ("att_kl_learn", "second"): ("unlabelled", 4592),
    }
    labels_only = {"--soft-weight": "0"}
    of_labels = plan(Grid(config, methods, labels_only), {"MRPC": data}, TEACHERS, {})
    assert not any("--unlabelled-subset" in run.overrides for run in of_labels if run.criterion == "kd")
    made_again = replace(data, added={"unlabelled": {"seed": 2}})
    other = plan(Grid(config, methods), {"MRPC": made_again}, TEACHERS, {})
    same = [run.name for run in runs if "--unlabelled-subset" not in run.overrides]
    assert [run.name for run in other if run in runs] == same
    config = GridConfig(**settings, unlabelled_subset="other")
    with pytest.raises(
        NotReady,
        match="--unlabelled-subset other is no split of d .it has train, unlabelled.*--unlabelled FILE.*preprocess.augment",
    ):
        plan(Grid(config, methods), {"MRPC": data}, TEACHERS, {})
