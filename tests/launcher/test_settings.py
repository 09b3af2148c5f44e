"""What is asked for: lists that add up, and flags that would come to nothing."""

import pytest

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
    sentence = "name --temperature, --soft-weight, of no use to --method none, which learns from the labels alone: leave"
    assert sentence in refusal(*task, "--method", "none", *weights)
    assert sentence in refusal(*task, "-e", "finetune", "--models", "x", *weights)
    assert not refusal(*task, "--method", "none,kd", *weights)

    grid = "task: mrpc\nmethod: {}\nflags: {{temperature: 4, soft-weight: 0.7}}"
    assert sentence in refusal(grid=grid.format("none"))
    assert not refusal("--method", "none", grid=grid.format("kd"))
