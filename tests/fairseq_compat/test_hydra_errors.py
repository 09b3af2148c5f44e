"""Mistakes in the words of fairseq-hydra-train are said before anything starts."""

import re
import sys
from argparse import Namespace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fairseq_kd  # noqa: F401
from fairseq_compat import registered
from fairseq_compat.hydra_errors import Source, missing_config, problems_of
from tests.tiny import ROOT, run

CONFIGS = ROOT / "configs"


def problems(*words: str, config: str = "rte_hidden_mse") -> list[str]:
    """What is said of that config of ours and these words, which are put in as hydra does."""
    cfg = OmegaConf.merge(OmegaConf.load(CONFIGS / f"{config}.yaml"), OmegaConf.load(CONFIGS / "base.yaml"))
    del cfg["hydra"], cfg["defaults"]
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        if word.startswith("~"):
            section, _, key = key.partition(".")
            del cfg[section][key]
        else:
            OmegaConf.update(cfg, key, value)
    return problems_of(cfg, Source(config, words))


GIVEN = ("task.data=data", "task.teacher=teacher")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["criterion._name=crd"],
            "--config-name rte_hidden_mse gives criterion.mapping, which crd does not have: add '~criterion.mapping'.",
        ),
        (
            ["criterion._name=crd", "criterion.mapping=last"],
            "criterion.mapping=last is no option of crd: its own are * leave it out and add '~criterion.mapping'.",
        ),
        (
            ["+task.nosuch=bf16"],
            "+task.nosuch=bf16 is no option of sentence_prediction_kd: its own are teacher, * leave it out.",
        ),
        (
            ["+task.autocst=bf16"],
            "+task.autocst=bf16 is no option of sentence_prediction_kd: give task.autocast or leave it out.",
        ),
        (
            ["criterion._name=att_kl_lern"],
            "criterion._name=att_kl_lern names no criterion: give att_kl_learn.",
        ),
        (
            ["criterion._name=nonsense"],
            "criterion._name=nonsense names no criterion: fairseq_kd has alp_kd, *, crd, *, sda.",
        ),
        (
            ["optimizer._name=nonsense"],
            "optimizer._name=nonsense names no optimizer: fairseq_kd has adamw_fused*.",
        ),
        (
            ["task._name=sentence_predict_kd"],
            "task._name=sentence_predict_kd names no task: give sentence_prediction_kd.",
        ),
        (["model._name=roberta_studnt"], "model._name=roberta_studnt names no model: give roberta_student."),
        (
            ["+optimization.max_updates=5"],
            "+optimization.max_updates=5 is no option of optimization: give optimization.max_update or leave it out.",
        ),
        (
            ["criterion.hard_weight=much"],
            "criterion.hard_weight cannot be so: Value 'much' of type 'str' could not be converted to Float.",
        ),
        (["task.data=???"], "task.data has no value: give task.data=..., folder of binarized data, *."),
        (["~task.data"], "task.data has no value: give task.data=..., folder of binarized data, *."),
        (
            ["task.teacher=???"],
            "task.teacher has no value: give task.teacher=..., the teacher's checkpoint: * model.pt.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence):
    [told] = problems(*GIVEN, *words)
    assert fnmatchcase(told, sentence), told


def test_all_mistakes_are_told():
    assert len(problems("criterion._name=crd", "+task.nosuch=1", "optimizer._name=adm")) == 5


@pytest.mark.parametrize("config", ["rte_hidden_mse", "rte_kd", "mnli_att_kl"])
def test_of_what_is_right_nothing_is_said(config):
    assert problems(*GIVEN, config=config) == []
    assert problems(*GIVEN, "+task.autocast=bf16", "+model.dropout=0", config=config) == []


def test_what_the_advice_leads_to_is_right():
    assert problems(*GIVEN, "criterion._name=crd", "~criterion.mapping") == []


def test_the_documentation_names_the_methods_that_need_it():
    said = (ROOT / "docs" / "methods" / "index.md").read_text()
    listed = re.search(r"methods without `--mapping` \(([^)]*)\)", said)[1]
    without = [
        name
        for name in registered.plugins("criterion")
        if "mapping" not in registered.options("criterion", name).__dataclass_fields__
    ]
    assert re.findall(r"`(\w+)`", listed) == without


def test_a_config_without_a_task_is_told():
    [told] = problems_of(OmegaConf.create({"task": None}), Source("config"))
    assert told == "nothing names a task: give --config-dir and --config-name of a config that does."


def arguments(**given) -> Namespace:
    return Namespace(**{"config_name": None, "config_dir": None, "config_path": None} | given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"config_name": "nope", "config_dir": "configs"},
            "--config-name nope, but there is no configs/nope.yaml: give one of base, mnli_att_kl, rte_hidden_mse, rte_kd.",
        ),
        (
            {"config_name": "stage_a", "config_dir": "configs"},
            "--config-name stage_a is not in --config-dir configs: give --config-dir configs/hsk, which has it.",
        ),
        (
            {"config_name": "rte_kd"},
            "--config-name rte_kd is no config of fairseq's own: give --config-dir FOLDER, the one that holds rte_kd.yaml.",
        ),
        (
            {"config_name": "rte_kd", "config_dir": "docs"},
            "--config-name rte_kd, but there is no docs/rte_kd.yaml: give another folder, for this one has none.",
        ),
        ({"config_name": "rte_kd", "config_dir": "configs"}, ""),
        ({"config_name": "rte_kd.yaml", "config_dir": "configs"}, ""),
        ({"config_name": "config"}, ""),
        ({"config_dir": "configs"}, ""),
        ({"config_name": "rte_kd", "config_dir": "nowhere"}, ""),  # hydra says that
        ({"config_name": "rte_kd", "config_path": "anywhere"}, ""),
    ],
)
def test_a_config_that_is_not_there(given, sentence, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert missing_config(arguments(**given)) == sentence


def hydra_train(folder: Path, *words: str, before: tuple[str, ...] = ()):
    command = [str(Path(sys.executable).with_name("fairseq-hydra-train")), "--config-dir", str(CONFIGS)]
    return run([*before, *command, *words, "common.cpu=true"], cwd=folder)


RUN = ("--config-name", "rte_hidden_mse", f"common.user_dir={ROOT / 'fairseq_kd'}", *GIVEN)


@pytest.mark.slow
def test_the_command_ends_with_the_sentence_alone(tmp_path):
    done = hydra_train(tmp_path, *RUN, "criterion._name=crd")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Cannot start: --config-name rte_hidden_mse gives criterion.mapping, which crd does not have: "
        "add '~criterion.mapping'.\n"
    )

    done = hydra_train(tmp_path, "--config-name", "nope", "task.data=x")
    assert done.returncode == 1
    assert done.stderr.startswith("Cannot start: --config-name nope, but there is no ")

    # fairseq's own task stumbles over our key before the plugin is there.
    done = hydra_train(tmp_path, *RUN, "task._name=sentence_prediction")
    assert done.stderr.startswith("Cannot start: task.teacher=teacher is no option of sentence_prediction: ")

    done = hydra_train(tmp_path, *RUN, "common.user_dir=elsewhere")
    assert done.stderr.startswith(
        f"Cannot start: common.user_dir=elsewhere is no folder here, in {tmp_path}: "
    )


@pytest.mark.slow
def test_every_worker_ends_with_the_sentence(tmp_path):
    torchrun = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2")
    done = hydra_train(tmp_path, *RUN, "criterion._name=crd", before=torchrun)
    assert done.returncode == 1
    assert "which crd does not have: add '~criterion.mapping'." in done.stderr
    assert "ConfigKeyError" not in done.stderr
