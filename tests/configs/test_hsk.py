"""The configs of the published schedule of `hsk`: fairseq accepts them, and stage_b continues stage_a."""

import math

import pytest

from tests.configs.written import written
from tests.tiny import ROOT

FOLDER = ROOT / "configs" / "hsk"
CONFIGS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")
SENTENCES = 67_349  # of SST-2


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_the_published_schedule(name):
    config = written(FOLDER, name)
    updates = config.optimization.max_epoch * math.ceil(SENTENCES / 32)
    assert config.dataset.batch_size == 32
    assert (config.optimizer.weight_decay, config.optimizer.no_decay_norm_and_bias) == (0.01, True)
    assert config.optimization.lr == [5e-5 if name == "stage_a" else 2e-5]
    assert config.optimization.max_epoch == (5 if name == "stage_b" else 10)
    if name == "stage_a":
        assert config.lr_scheduler._name == "fixed"
        assert (config.criterion.hard_weight, config.criterion.soft_weight) == (0, 0)
    else:
        assert config.lr_scheduler._name == "polynomial_decay"
        assert config.lr_scheduler.total_num_update == updates
        warmup = updates / 10 if name == "prediction_only" else None
        assert config.lr_scheduler.get("warmup_updates") == warmup
        assert (config.criterion.soft_weight, config.criterion.temperature) == (1, 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_comment_of_a_config_names_its_initialisation(name):
    comment = " ".join((FOLDER / f"{name}.yaml").read_text().split("defaults:")[0].replace("#", " ").split())
    model = written(FOLDER, name).model
    if name == "stage_b":
        assert model.init_layers == "all"
        assert model.init_from == written(FOLDER, "stage_a").checkpoint.save_dir
        assert "starting from the student of stage_a" in comment
    else:
        assert (model.get("init_from"), model.init_layers) == (None, "1,3,5,7,9,11")
        assert "every second layer of the teacher" in comment
