"""Grids of searches state the settings that the search does not vary."""

import math
import re
import shlex
from pathlib import Path

import pytest

from launcher.cli import read_arguments
from launcher.datasets import TASKS, Data, find_task
from launcher.execution.command import train_command
from launcher.overrides import value_of
from launcher.planning.expand import plan
from launcher.planning.job import Job
from tests.tiny import ROOT

FOLDER = ROOT / "configs" / "grids"
NAMES = ("alp_kd", "pkd_search_1", "pkd_search_2")
FLAGS = ("--total-num-update", "--warmup-updates")


def header(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text().split("\ntask:")[0]


def commands(*arguments: str) -> dict[str, list[str]]:
    """Return the command of one student for each task."""
    _, grid, _ = read_arguments("", arguments)
    data = {task: Data(Path("d"), TASKS[task].sentences, "accuracy", ("valid",), "d") for task in grid.tasks}
    specs = {spec.task: spec for spec in plan(grid, data, dict.fromkeys(grid.tasks, "t"), {})}
    files = (Path("t.pt"), Path("t.pt"))
    return {
        task: train_command(Job(spec, Path("r"), data[task], "t", True, *files))
        for task, spec in specs.items()
    }


def updates(task: str) -> int:
    """Return the updates of four epochs with batches of 32."""
    return 4 * math.ceil(TASKS[task].sentences / 32)


@pytest.mark.parametrize("name", NAMES)
def test_inherited_settings_are_stated(name):
    text = " ".join(header(name).replace("#", " ").split())
    assert re.search(
        r"shortened .*of Wang et al., ACL 2023: warm-up 6% \(QQP 25%\),( and)? RTE ends at 25% of its", text
    )
    assert re.search(r"eight decay 0.1, no clipping, betas \(0.9, 0.98\)(,| and) epsilon 1e-6", text)

    found = commands("--grid", str(FOLDER / f"{name}.yaml"))
    assert len(found) == 7
    for task, command in found.items():
        given = {
            flag: value_of(f"--{flag}", command)
            for flag in ("batch-size", "weight-decay", "clip-norm", "adam-betas", "adam-eps")
        }
        assert list(given.values()) == ["32", "0.1", "0.0", "(0.9, 0.98)", "1e-6"]
        total, warmup = (float(value_of(flag, command)) for flag in FLAGS)
        assert round(100 * warmup / total) == (25 if task == "QQP" else 6)
        left = max(0.0, (total - updates(task)) / (total - warmup))
        assert left == pytest.approx(0.25 if task == "RTE" else 0.0, abs=0.02)


def test_patience_starts_from_the_pre_trained_model_with_inputs_of_128_tokens():
    for name in ("pkd_search_1", "pkd_search_2"):
        args, grid, _ = read_arguments("", ["--grid", str(FOLDER / f"{name}.yaml")])
        assert args.max_positions == 128
        for command in commands("--grid", str(FOLDER / f"{name}.yaml")).values():
            assert value_of("--init-from", command) == "models/roberta.base"


def test_the_study_starts_second_stages_from_the_last_checkpoint():
    _, grid, _ = read_arguments("", ["--grid", str(FOLDER / "acl2023.yaml")])
    assert (grid.stages, grid.stage2_from) == (("two",), "last")


def test_alp_kd_has_the_schedule_of_each_task():
    text = header("alp_kd").replace("\\\n#", " ")
    (line,) = re.findall(r"python experiments.py (.*)", text)
    ((task, command),) = commands(*shlex.split(line.replace("$mu", "100"))).items()
    found = {task: [int(value_of(flag, command)) for flag in FLAGS]}
    rest = re.search(r"other tasks: (.*?)\. ", " ".join(text.replace("#", " ").split()))[1]
    for entry in rest.split(", "):
        name, *numbers = entry.split()
        found[find_task(name).name] = [int(number) for number in numbers]

    _, grid, _ = read_arguments("", ["--grid", str(FOLDER / "alp_kd.yaml")])
    assert found == {task: [updates(task), round(0.1 * updates(task))] for task in grid.tasks}
    assert value_of("--inter-weight", command) == "100"
