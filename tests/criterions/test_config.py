"""What a resumed run cannot change: all that decides what a method learns, and nothing else."""

from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

from fairseq_kd.criterions.config import DistillationConfig
from fairseq_kd.describe import describe
from tests.criterions.factory import config_of

METHODS = list(describe()["criterions"])
SHARED = {field.name for field in fields(DistillationConfig)}

# How the gates are trained may change on the way, and where a window is kept makes no difference.
FREE = {"gate_lr", "gate_warmup_updates", "gate_total_updates", "gate_weight_decay", "gate_clip_norm"}
FREE |= {"gate_betas", "gate_eps", "sda_host"}


def critical(words: str) -> dict[str, str]:
    return CRITERION_REGISTRY[words.split()[0]].resume_critical(config_of(words))


@pytest.mark.parametrize("method", METHODS)
def test_every_flag_of_a_methods_own_is_resume_critical_or_free(method):
    config = CRITERION_DATACLASS_REGISTRY[method]
    own = {each.name for each in fields(config) if not str(each.default).startswith("${")} - SHARED
    flags = {"--" + name.replace("_", "-") for name in own - FREE}
    # kd pairs nothing, and its own terms are none.
    assert flags <= critical(method).keys() <= flags | {"--mapping", "--inter-weight"}


@pytest.mark.parametrize(
    ("before", "now", "flag"),
    [
        ("att_kl_learn", "--attention-clamp 1e-7", "--attention-clamp"),
        ("att_kl_learn", "--mapping last", "--mapping"),
        ("hidden_mse_learn", "--inter-weight 0", "--inter-weight"),
        ("lad", "--lad-scope cls", "--lad-scope"),
        ("minilm_v2", "--relation-heads 2", "--relation-heads"),
        ("alp_kd", "--alp-detach", "--alp-detach"),
        ("hsk", "--hsk-keep 1l", "--hsk-keep"),
        ("sda", "--sda-form voted", "--sda-form"),
        ("sda --sda-form ema", "--sda-decay 0.9", "--sda-decay"),
        ("sda --sda-window 2", "--sda-evaluate average", "--sda-evaluate"),
    ],
)
def test_a_changed_value_is_found(before, now, flag):
    before, now = critical(before), critical(f"{before} {now}")
    assert {each for each in now if before[each] != now[each]} == {flag}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("sda", "sda --sda-window 1"),
        ("sda --sda-window 00", "sda --sda-window all"),
        ("sda --sda-form ema", "sda --sda-form ema --sda-decay 0.995"),
        ("sda --sda-window 3", "sda --sda-window 03 --sda-host"),
        ("lad --gate-lr 1e-6", "lad --gate-lr 1e-5"),
        ("hsk --hsk-keep 2t", "hsk --hsk-keep 2t --hsk-length attention_no_sep"),
    ],
)
def test_equal_values_in_another_notation_are_equal(before, now):
    assert critical(before) == critical(now)


def test_a_checkpoint_may_be_older_than_a_flag():
    saved = {"mapping": "skip", "inter_weight": 1.0, "lad_form": "lad"}
    found = CRITERION_REGISTRY["lad"].resume_critical(saved)
    assert found.keys() == {"--mapping", "--inter-weight", "--lad-form"}
