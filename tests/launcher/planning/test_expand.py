from pathlib import Path

import pytest

from launcher.datasets import TASKS, Data, find_task
from launcher.planning.expand import OWN_MAPPING, Grid, plan, settle

DATA = {name: Data(Path(name), task.sentences, "accuracy", ("valid",), name) for name, task in TASKS.items()}
TEACHERS = dict.fromkeys(TASKS, "t")


def grid(**changes) -> Grid:
    settings = {
        "tasks": ("MRPC",),
        "methods": ("att_kl_learn",),
        "inits": ("0,1,2",),
        "mappings": ("skip",),
        "stages": ("two",),
        "seeds": (1,),
        "epochs": 10,
        "first_epochs": 10,
    }
    return Grid(**settings | changes)


def planned(**changes):
    return plan(grid(**changes), DATA, TEACHERS, {})


def test_lists_multiply():
    runs = planned(
        tasks=("MRPC", "RTE"),
        inits=("0,1,2", "3,4,5"),
        mappings=("skip", "last"),
        stages=("one",),
        seeds=(1, 2, 3),
    )
    assert len(runs) == len({run.name for run in runs}) == 2 * 2 * 2 * 3


def test_batch_sizes_and_rates_multiply_and_each_batch_size_has_its_schedule():
    runs = planned(methods=("none",), batch_sizes=(16, 32), lrs=(1e-5, 8e-5), seeds=(1, 2))
    assert len({run.name for run in runs}) == 2 * 2 * 2
    assert {(run.batch_size, run.lr, run.updates, run.warmup) for run in runs} == {
        (16, 1e-5, 2296, 137), (16, 8e-5, 2296, 137), (32, 1e-5, 1148, 68), (32, 8e-5, 1148, 68)
    }  # fmt: skip


def test_a_first_stage_has_the_batch_size_and_rate_of_its_second():
    runs = planned(lrs=(1e-5, 3e-5))
    assert [(run.stage, run.lr) for run in runs] == [
        ("first", 1e-5), ("second", 1e-5), ("first", 3e-5), ("second", 3e-5)
    ]  # fmt: skip


def test_two_stages_are_two_runs_and_the_second_starts_from_the_first():
    first, second = planned(epochs=3, first_epochs=5)
    assert (first.stage, first.epochs, first.after) == ("first", 5, "")
    assert (second.stage, second.epochs, second.after) == ("second", 3, first.name)


def test_methods_on_logits_are_one_cell_whatever_the_mappings_and_stages():
    runs = planned(methods=("none", "kd"), mappings=("skip", "last"), stages=("one", "two"))
    assert [run.cell for run in runs] == [("MRPC", name, "0,1,2", "", "one") for name in ("none", "kd")]


def test_a_method_on_all_states_has_stages_but_no_mapping():
    runs = planned(methods=("crd",), mappings=("skip", "last"), stages=("one", "two"))
    assert [run.cell[3:] for run in runs] == [("", "one"), ("", "first"), ("", "two")]


def test_a_second_stage_of_other_length_shares_the_first():
    shorter, longer = planned(epochs=3), planned(epochs=4)
    assert shorter[0] == longer[0]
    assert shorter[1].name != longer[1].name


@pytest.mark.parametrize(
    ("task", "epochs", "batch_size", "sentences", "schedule"),
    [
        ("MRPC", 10, 16, 3668, (2296, 137)),  # as published
        ("RTE", 10, 16, 2490, (2036, 122)),
        ("QQP", 10, 32, 363849, (113272, 28318)),
        ("MRPC", 3, 16, 3668, (689, 41)),
        ("MRPC", 3, 32, 3668, (344, 21)),
        ("SST-2", 1, 32, 6735, (209, 13)),  # a tenth of it, a tenth as long
    ],
)
def test_schedules_are_the_published_ones_scaled(task, epochs, batch_size, sentences, schedule):
    assert TASKS[task].schedule(epochs, batch_size, sentences) == schedule


def test_given_settings_replace_the_published_ones():
    (run,) = planned(methods=("kd",), batch_sizes=(8,), lrs=(3e-4,), flags=("--bf16",))
    assert (run.batch_size, run.lr, run.updates, run.flags) == (8, 3e-4, 4592, ("--bf16",))


def test_a_flag_of_one_criterion_reaches_the_runs_that_have_it():
    flags = ("--bf16", "--hsk-keep", "1l_10t_0.1h", "--inter-weight", "10")
    runs = planned(methods=("none", "kd", "hsk", "crd"), flags=flags)
    assert {(run.method, run.stage): run.flags for run in runs} == {
        ("none", "one"): ("--bf16",),
        ("kd", "one"): ("--bf16",),
        ("hsk", "first"): flags,
        ("hsk", "second"): ("--bf16",),
        ("crd", "first"): ("--bf16", "--inter-weight", "10"),
        ("crd", "second"): ("--bf16",),
    }


def test_weights_that_a_stage_sets_itself_name_no_run_of_it():
    """Else a search of temperatures would train its first stages, and students without a teacher, once for each."""

    def by_stage(*flags: str):
        runs = planned(methods=("none", "kd", "att_kl_learn"), flags=("--bf16", *flags))
        return {(run.method, run.stage): run for run in runs}

    plain, tried = by_stage(), by_stage("--temperature", "4", "--soft-weight=0.7", "--hard-weight", "0.3")
    for key, run in plain.items():
        same = key in {("none", "one"), ("att_kl_learn", "first")}
        assert (tried[key].name == run.name) == same, key
    assert tried["kd", "one"].flags == (
        *("--bf16", "--temperature", "4", "--soft-weight=0.7", "--hard-weight", "0.3"),
    )
    assert tried["att_kl_learn", "second"].after == plain["att_kl_learn", "first"].name


@pytest.mark.parametrize(
    ("inits", "settled"),
    [
        (("random", "0,1,2"), ("random:3", "0,1,2")),
        (("0,4,8,11", "all", "random"), ("0,4,8,11", "all", "random:4")),
        (("random:3", "random"), ("random:3",)),
        (("random:3", "0,1"), ("random:3", "0,1")),
        (("all",), ("all",)),
    ],
)
def test_a_random_student_is_as_deep_as_those_beside_it(inits, settled):
    assert settle(grid(inits=inits)).inits == settled


@pytest.mark.parametrize(
    ("inits", "found"),
    [
        (("random",), "no depth"),
        (("all", "random"), "no depth"),
        (("0,1,2", "random:6", "random"), "depths 3 and 6"),
    ],
)
def test_a_random_student_of_unknown_depth_is_refused(inits, found):
    with pytest.raises(ValueError, match=f"--init random has {found} to take over.*write random:3 "):
        settle(grid(inits=inits))


def test_a_mixture_of_states_is_not_for_methods_that_pair_layers():
    methods = ("none", "att_kl_learn", "hidden_mse_learn", "lad")
    with pytest.raises(ValueError, match="but --method att_kl_learn,lad compares pairs of layers"):
        settle(grid(methods=methods, mappings=("skip", "combine")))
    with pytest.raises(ValueError, match="--mapping combine-layers mixes"):
        settle(grid(methods=methods, mappings=("combine-layers",)))
    assert settle(grid(methods=methods)) == grid(methods=methods)
    assert settle(grid(methods=("kd", "hidden_mse_token"), mappings=("combine",))).mappings == ("combine",)


def test_without_a_mapping_each_method_takes_its_own():
    runs = planned(methods=("att_kl_learn", "minilm", "kd"), mappings=(OWN_MAPPING,), stages=("one",))
    assert {(spec.method, spec.mapping) for spec in runs} == {
        ("att_kl_learn", "skip"),
        ("minilm", "last"),
        ("kd", ""),
    }


@pytest.mark.parametrize("name", ["sst2", "SST-2", "sst-2", "Sst2"])
def test_tasks_are_known_by_any_spelling(name):
    assert find_task(name).name == "SST-2"
