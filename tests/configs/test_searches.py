"""Grids of searches state the settings that the search does not vary."""

import math
import re
import shlex

import pytest

from launcher.cli import read_arguments
from launcher.datasets import TASKS, task_name
from tests.configs.written import flags_by_task
from tests.tiny import ROOT

FOLDER = ROOT / "configs" / "grids"
NAMES = ("alp_kd", "pkd_search_1", "pkd_search_2")
FLAGS = ("--total-num-update", "--warmup-updates")


def header(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text().split("\ntask:")[0]


def grid(name: str):
    return read_arguments("", ["--grid", str(FOLDER / f"{name}.yaml")])[0]


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

    found = flags_by_task(grid(name))
    assert len(found) == 7
    for task, flags in found.items():
        names = ("batch-size", "weight-decay", "clip-norm", "adam-betas", "adam-eps")
        assert [flags[f"--{name}"] for name in names] == ["32", "0.1", "0.0", "(0.9, 0.98)", "1e-6"]
        total, warmup = (float(flags[flag]) for flag in FLAGS)
        assert round(100 * warmup / total) == (25 if task == "QQP" else 6)
        left = max(0.0, (total - updates(task)) / (total - warmup))
        assert left == pytest.approx(0.25 if task == "RTE" else 0.0, abs=0.02)


def test_patience_starts_from_the_pre_trained_model_with_inputs_of_128_tokens():
    for name in ("pkd_search_1", "pkd_search_2"):
        assert grid(name).config.max_positions == 128
        for flags in flags_by_task(grid(name)).values():
            assert flags["--init-from"] == "models/roberta.base"


def test_the_study_starts_second_stages_from_the_last_checkpoint():
    config = grid("acl2023").config
    assert (config.stage, config.stage2_from) == (["two"], "last")


def test_alp_kd_has_the_schedule_of_each_task():
    text = header("alp_kd").replace("\\\n#", " ")
    (line,) = re.findall(r"python experiments.py (.*)", text)
    given, _ = read_arguments("", shlex.split(line.replace("$mu", "100")))
    ((task, flags),) = flags_by_task(given).items()
    found = {task: [int(flags[flag]) for flag in FLAGS]}
    rest = re.search(r"other tasks: (.*?)\. ", " ".join(text.replace("#", " ").split()))[1]
    for entry in rest.split(", "):
        name, *numbers = entry.split()
        found[task_name(name)] = [int(number) for number in numbers]

    tasks = grid("alp_kd").config.task
    assert found == {task: [updates(task), round(0.1 * updates(task))] for task in tasks}
    assert flags["--inter-weight"] == "100"
