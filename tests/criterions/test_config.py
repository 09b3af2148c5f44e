"""What a resumed run cannot change: all that decides what a method learns, and nothing else."""

from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.dataclass.utils import merge_with_parent
from omegaconf import OmegaConf

import fairseq_kd  # noqa: F401
from fairseq_kd.criterions.config import DistillationConfig
from fairseq_kd.describe import describe

METHODS = list(describe()["criterions"])
SHARED = {field.name for field in fields(DistillationConfig)}

# How the gates are trained may change on the way, and where a window is kept makes no difference.
FREE = {"gate_lr", "gate_warmup_updates", "gate_total_updates", "gate_weight_decay", "gate_clip_norm"}
FREE |= {"gate_betas", "gate_eps", "sda_host"}


def critical(method: str, **given) -> dict[str, str]:
    config = merge_with_parent(CRITERION_DATACLASS_REGISTRY[method](), OmegaConf.create(given))
    return CRITERION_REGISTRY[method].resume_critical(config)


@pytest.mark.parametrize("method", METHODS)
def test_every_flag_of_a_methods_own_is_resume_critical_or_free(method):
    config = CRITERION_DATACLASS_REGISTRY[method]
    own = {each.name for each in fields(config) if not str(each.default).startswith("${")} - SHARED
    flags = {"--" + name.replace("_", "-") for name in own - FREE}
    # kd pairs nothing, and its own terms are none.
    assert flags <= critical(method).keys() <= flags | {"--mapping", "--inter-weight"}


@pytest.mark.parametrize(
    ("method", "before", "now", "flag"),
    [
        ("att_kl_learn", {}, {"attention_clamp": 1e-7}, "--attention-clamp"),
        ("att_kl_learn", {}, {"mapping": "last"}, "--mapping"),
        ("hidden_mse_learn", {}, {"inter_weight": 0.0}, "--inter-weight"),
        ("lad", {}, {"lad_scope": "cls"}, "--lad-scope"),
        ("minilm_v2", {}, {"relation_heads": 2}, "--relation-heads"),
        ("alp_kd", {"alp_detach": True}, {}, "--alp-detach"),
        ("hsk", {}, {"hsk_keep": "1l"}, "--hsk-keep"),
        ("sda", {}, {"sda_form": "voted"}, "--sda-form"),
        ("sda", {"sda_form": "ema"}, {"sda_form": "ema", "sda_decay": 0.9}, "--sda-decay"),
        ("sda", {"sda_window": "2"}, {"sda_window": "2", "sda_evaluate": "average"}, "--sda-evaluate"),
    ],
)
def test_another_value_is_told_from_the_one_before(method, before, now, flag):
    before, now = critical(method, **before), critical(method, **now)
    assert {each for each in now if before[each] != now[each]} == {flag}


@pytest.mark.parametrize(
    ("method", "before", "now"),
    [
        ("sda", {}, {"sda_window": "1"}),
        ("sda", {"sda_window": "00"}, {"sda_window": "all"}),
        ("sda", {"sda_form": "ema"}, {"sda_form": "ema", "sda_decay": 0.995}),
        ("sda", {"sda_window": "3"}, {"sda_window": "03", "sda_host": True}),
        ("lad", {"gate_lr": 1e-6}, {"gate_lr": 1e-5}),
        ("hsk", {"hsk_keep": "2t"}, {"hsk_keep": "2t", "hsk_length": "attention_no_sep"}),
    ],
)
def test_the_same_in_other_words_goes_on(method, before, now):
    assert critical(method, **before) == critical(method, **now)


def test_a_checkpoint_may_be_older_than_a_flag():
    saved = {"mapping": "skip", "inter_weight": 1.0, "lad_form": "lad"}
    assert CRITERION_REGISTRY["lad"].resume_critical(saved).keys() == {
        "--mapping",
        "--inter-weight",
        "--lad-form",
    }
