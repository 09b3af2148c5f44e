"""Flags without effect are listed in a warning, never refused."""

from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

from fairseq_kd.criterions.config import IntermediateConfig
from fairseq_kd.describe import describe
from tests.tiny import batch, build

METHODS = list(describe()["criterions"])  # here, because tests register more

OFF = {"inter_weight": 0.0}

# What criterions take from other sections of fairseq's config, which here are not made.
ELSEWHERE = {"optimizer_name": "adam"}

# One value of each that is not its default, and is right where the method's terms have a weight.
GIVEN = {
    "alp_kd": {"alp_scope": "tokens", "alp_reach": "prefix", "alp_detach": True},
    "att_kl_hidden_mse": {"attention_clamp": 1e-7},
    "att_kl_learn": {"attention_clamp": 1e-7},
    "crd": {"crd_feature_dim": 8, "crd_negatives": 3, "crd_temperature": 0.1, "crd_momentum": 0.1},
    "hsk": {"hsk_keep": "1l", "hsk_length": "left", "hsk_width": "uniform", "hsk_ranking": "skip",
            "hsk_teacher_alone": True},
    "lad": {"gate_lr": 1e-5, "gate_warmup_updates": 1, "gate_total_updates": 9, "gate_weight_decay": 0.1,
            "gate_clip_norm": 1.0, "gate_betas": "(0.9, 0.9)", "gate_eps": 1e-6, "lad_form": "no",
            "lad_partial": 1, "lad_scope": "cls", "lad_frozen": True},
    "minilm": {"attention_clamp": 1e-7},
    "minilm_v2": {"relation_heads": 2},
    "pkd": {"pkd_unnormalized": True},
    "sda": {"sda_form": "ema", "sda_window": "3", "sda_decay": 0.9, "sda_host": True},
}  # fmt: skip


def own_fields(method: str) -> set[str]:
    config = CRITERION_DATACLASS_REGISTRY[method]
    shared = {field.name for field in fields(IntermediateConfig)}
    return {field.name for field in fields(config) if not str(field.default).startswith("${")} - shared


def test_all_flags_are_tried_here():
    # Validations may judge sda's average, whatever its terms weigh.
    elsewhere = {"pkd": {"pkd_kl"}, "sda": {"sda_evaluate"}}
    for method in METHODS:
        assert own_fields(method) - elsewhere.get(method, set()) == GIVEN.get(method, {}).keys(), method


def warning(caplog) -> str:
    """Return the only warning about flags without effect, or an empty string."""
    found = [record.message for record in caplog.records if record.message.startswith("flags without effect")]
    assert len(found) <= 1
    return found[0] if found else ""


@pytest.mark.parametrize("method", GIVEN)
def test_flags_of_terms_without_weight_are_listed(data, teacher, method, caplog):
    build(data, teacher, method, **GIVEN[method], **OFF, **(ELSEWHERE if method == "lad" else {}))
    listed, _, reason = warning(caplog).removeprefix("flags without effect: ").partition(" (")
    assert set(listed.split(", ")) == {"--" + name.replace("_", "-") for name in GIVEN[method]}
    assert reason == "--inter-weight 0)"


def test_values_of_flags_without_effect_are_not_checked(data, teacher, caplog):
    build(data, teacher, "hsk", hsk_keep="nonsense", **OFF)
    assert warning(caplog) == "flags without effect: --hsk-keep (--inter-weight 0)"


def test_a_cache_that_nobody_uses_is_listed(data, teacher, tmp_path, caplog):
    cache = {"teacher_cache": str(tmp_path / "cache")}
    task, student, criterion = build(data, teacher, "kd", task=cache, soft_weight=0.0)
    criterion(student, batch(task, [0, 1]))
    assert warning(caplog).startswith(
        "flags without effect: --teacher-cache (--criterion kd with these weights"
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", GIVEN)
def test_without_them_a_method_is_plain_distillation(data, teacher, method):
    given = {} if method in ("alp_kd", "crd", "sda") else {"mapping": "last"}
    _, _, criterion = build(data, teacher, method, **given, **OFF, **(ELSEWHERE if method == "lad" else {}))
    assert not criterion.student_wanted.states


def test_a_term_of_the_first_stage_has_an_effect(data, teacher, caplog):
    stages = {"two_stage": 0.5, "first_weights": [0.0, 0.0, 1.0], "fp16": False}
    build(data, teacher, "hsk", hsk_keep="1l", **stages, **OFF)
    assert not warning(caplog)


def test_flags_of_the_logits_keep_their_effect(data, teacher, caplog):
    build(data, teacher, "pkd", pkd_kl="mean", **OFF)
    build(data, teacher, "sda", sda_evaluate="average", sda_window="all", **OFF)
    assert not warning(caplog)
