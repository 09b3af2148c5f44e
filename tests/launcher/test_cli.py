"""What is asked for: lists that add up."""

from launcher.cli import read_arguments
from launcher.options import make_parser


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


def test_the_mapping_names_of_liu_et_al_are_ours():
    _, grid, _ = read_arguments(
        "", ["--task", "mrpc", "--method", "hsk", "--mapping", "t_top10,top10,t_top8"]
    )
    assert grid.mappings == ("top10", "top8")
