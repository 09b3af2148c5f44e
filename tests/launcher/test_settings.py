"""What is asked for: lists that add up, and flags that would come to nothing."""

import pytest

from launcher.methods import ALL_STATES, LOGITS_ONLY, default_mapping, known_methods
from launcher.options import make_parser
from launcher.settings import read_arguments


def test_every_list_may_be_given_in_parts():
    lists = {
        "task": ("mrpc", "rte"),
        "method": ("kd", "hidden_mse_learn"),
        "init": ("0,1", "1,2"),
        "mapping": ("skip", "last"),
        "stage": ("one", "two"),
        "batch-size": ("8", "16"),
        "lr": ("1e-5", "2e-5"),
        "seeds": ("1", "2"),
    }
    listed = [action for action in make_parser(None)._actions if (action.metavar or "") in ("A,B", "LAYERS")]
    assert {action.dest.replace("_", "-") for action in listed} == set(lists)

    words = [word for name, values in lists.items() for value in values for word in (f"--{name}", value)]
    _, grid, _ = read_arguments("", words)
    of_two = (grid.tasks, grid.methods, grid.inits, grid.mappings, grid.stages, grid.batch_sizes, grid.lrs)
    assert [len(values) for values in of_two] == [2] * 7
    assert grid.seeds == (1, 2)


def test_the_help_names_the_mapping_of_every_method():
    (action,) = (action for action in make_parser(None)._actions if action.dest == "mapping")
    default = action.help.partition("(default: ")[2].rstrip(")")
    usual, *others = default.split("; ")
    told = {
        method: mapping
        for mapping, methods in (other.split(" for ") for other in others)
        for method in methods.split(" and ")
    }
    assert told["pkd"] == "pkd-skip"
    paired = set(known_methods()) - LOGITS_ONLY - ALL_STATES
    assert {method: told.get(method, usual) for method in paired} == {m: default_mapping(m) for m in paired}


@pytest.fixture
def refusal(capsys, tmp_path):
    """What a command line is refused with, or nothing; `grid` is a file for it."""

    def refusal(*words: str, grid: str = "") -> str:
        file = tmp_path / "grid.yaml"
        file.write_text(grid)
        try:
            read_arguments(None, [*(("--grid", str(file)) if grid else ()), *words])
        except SystemExit:
            return capsys.readouterr().err
        return ""

    return refusal


def test_weights_are_of_no_use_to_students_without_a_teacher(refusal):
    task, weights = ("--task", "mrpc"), ("--", "--temperature", "4", "--soft-weight=0.7")
    sentence = "--temperature is of no use to --method none, which learns from the labels alone: leave it out"
    assert sentence in refusal(*task, "--method", "none", *weights)
    assert "--temperature is of no use to -e fin" in refusal(
        *task, "-e", "finetune", "--models", "x", *weights
    )
    assert not refusal(*task, "--method", "none,kd", *weights)

    grid = "task: mrpc\nmethod: {}\nflags: {{temperature: 4, soft-weight: 0.7}}"
    assert sentence in refusal(grid=grid.format("none"))
    assert not refusal("--method", "none", grid=grid.format("kd"))


NONE, KD, HIDDEN = (
    ("--task", "mrpc", "--method", method) for method in ("none", "kd,sda", "hidden_mse_learn")
)
FIRST, CACHE = ("--stage1-epochs", "3"), ("--teacher-cache", "c")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*HIDDEN, *FIRST, "--stage", "one"), "--stage1-epochs is of no use to --stage one, which has no first stage"),
        ((*NONE, *FIRST), "--stage1-epochs is of no use to --method none, which has one stage alone: leave it out"),
        ((*KD, "--stage", "two"), "--stage two is of no use to --method kd,sda, which has one stage alone: leave it"),
        ((*NONE, "--stage", "one,two"), "--stage two is of no use to --method none, which has one stage alone"),
        ((*NONE, *CACHE), "--teacher-cache is of no use to --method none, which asks no teacher: leave it out"),
        ((*HIDDEN, *FIRST, *CACHE), ""),
        ((*HIDDEN, *FIRST, "--stage", "one,two"), ""),
        ((*KD, *CACHE, "--stage", "one"), ""),
        ((*HIDDEN, *NONE[2:], *FIRST, *CACHE, "--stage", "two"), ""),
        (("--task", "mrpc", "-e", "pred", "--models", "x", "--stage", "two", *CACHE), ""),
    ],
)  # fmt: skip
def test_what_no_method_or_stage_has_a_use_for_is_refused(refusal, words, sentence):
    told = refusal(*words)
    assert sentence in told
    assert bool(told) == bool(sentence)


def test_a_file_may_say_more_than_what_the_command_line_leaves_of_it(refusal):
    grid = "task: mrpc\nmethod: {}\nstage: {}\nstage1-epochs: 3\nteacher-cache: c\nmapping: skip"
    whole = grid.format("[none, hidden_mse_learn]", "two")
    for narrowed in ((), ("--method", "none"), ("--stage", "one"), ("--method", "hidden_mse_learn")):
        assert not refusal(*narrowed, grid=whole)
    for typed in (FIRST, CACHE, ("--stage", "two")):
        assert " is of no use to --method none" in refusal("--method", "none", *typed, grid=whole)

    assert "--stage1-epochs is of no use to --stage one" in refusal(
        grid=grid.format("hidden_mse_learn", "one")
    )
    assert "--stage two is of no use to --method kd" in refusal(
        grid="task: mrpc\nmethod: kd\nstage: two\nstage1-epochs: 3"
    )


def test_the_mapping_names_of_liu_et_al_are_ours():
    _, grid, _ = read_arguments(
        "", ["--task", "mrpc", "--method", "hsk", "--mapping", "t_top10,top10,t_top8"]
    )
    assert grid.mappings == ("top10", "top8")
