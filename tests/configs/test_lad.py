"""The grids of LAD have the published settings of each task, and their commands use them."""

import math

import pytest

from launcher.cli import read_arguments
from launcher.datasets import TASKS, task_name
from tests.configs.written import flags_by_task
from tests.tiny import ROOT

# lr, of the gates, epochs, T, soft, hard, mu, share of warm-up
PUBLISHED = {
    "mnli": (1e-4, 5e-7, 4, 10, 0.5, 0.5, 500, 0.1),
    "qnli": (1e-4, 1e-6, 4, 10, 0.5, 0.5, 1000, 0.1),
    "qqp": (5e-4, 5e-7, 5, 10, 0.7, 0.3, 1000, 0.1),
    "sst-2": (1e-4, 1e-6, 20, 20, 0.5, 0.5, 1000, 0.3),
    "mrpc": (7e-4, 5e-6, 20, 10, 0.5, 0.5, 500, 0.1),
    "rte": (7e-4, 3e-5, 10, 10, 0.5, 0.5, 1000, 0.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_grid_has_the_published_settings_of_its_task(name):
    lr, gate_lr, epochs, temperature, soft, hard, mu, share = PUBLISHED[name]
    grid, _ = read_arguments("", ["--grid", str(ROOT / "configs" / "grids" / f"lad_{name}.yaml")])
    config = grid.config
    task = TASKS[task_name(name)]
    total = math.ceil(task.sentences / 32) * epochs
    warmup = round(share * total)

    assert (config.task, config.method, config.lr, config.epochs) == ([task.name], ["lad"], [lr], epochs)
    assert config.batch_size == [32]
    assert (config.init, config.max_positions) == (["1,3,5,7,9,11"], 128)
    assert config.teacher_lr is None  # a teacher that is made is not trained at the students' rate
    numbers = {
        "--gate-lr": gate_lr,
        "--temperature": temperature,
        "--soft-weight": soft,
        "--hard-weight": hard,
        "--inter-weight": mu,
        "--warmup-updates": warmup,
        "--total-num-update": total,
        "--gate-warmup-updates": warmup,
        "--gate-total-updates": total,
    }
    assert {flag: float(grid.overrides[flag]) for flag in numbers} == numbers
    flags = flags_by_task(grid)[task.name]
    shared = {"--weight-decay": 0.01, "--clip-norm": 1.0, "--adam-eps": 1e-8}
    shared |= {"--gate-clip-norm": 1.0, "--gate-eps": 1e-8, "--dropout": 0.1, "--pooler-dropout": 0.1}
    expected = numbers | shared | {"--max-epoch": epochs, "--batch-size": 32, "--lr": lr}
    assert {flag: float(flags[flag]) for flag in expected} == expected
    # Gates follow --weight-decay, so that it spares their biases and LayerNorms, too.
    assert flags["--no-decay-norm-and-bias"] is True
    assert "--gate-weight-decay" not in flags
    # The pre-trained model, not the teacher.
    assert flags["--init-from"] == "models/bert-base"
    assert flags["--init-layers"] == "1,3,5,7,9,11"
    for flag in ("--adam-betas", "--gate-betas"):
        assert flags[flag] == "(0.9, 0.999)"


def test_a_grid_says_which_layers_students_start_from():
    for name in PUBLISHED:
        text = (ROOT / "configs" / "grids" / f"lad_{name}.yaml").read_text()
        assert "every second layer of the PRE-TRAINED model, including the top layer" in text
        assert "not published" not in text
