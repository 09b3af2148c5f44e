"""Flags of a method's own mean nothing where its terms have no weight, and are refused."""

from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

from fairseq_kd.criterions.config import IntermediateConfig
from fairseq_kd.errors import CannotStart
from launcher.methods import known_methods
from tests.tiny import build

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
    for method in set(known_methods()) - {"none"}:
        assert own_fields(method) - elsewhere.get(method, set()) == GIVEN.get(method, {}).keys(), method


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [(method, *each) for method, given in GIVEN.items() for each in given.items()],
)
def test_a_flag_of_no_use_is_refused(data, teacher, method, name, value):
    flag = "--" + name.replace("_", "-")
    with pytest.raises(
        CannotStart, match=f"{flag} is about terms that --inter-weight 0 leaves out"
    ) as refused:
        build(data, teacher, method, **{name: value}, **OFF, **(ELSEWHERE if method == "lad" else {}))
    assert str(refused.value).count(flag) == 1


def test_several_are_named_together(data, teacher):
    with pytest.raises(
        CannotStart, match="--gate-lr, --lad-partial are about terms .*: leave them out, too, or raise"
    ):
        build(data, teacher, "lad", gate_lr=-5.0, lad_partial=99, **ELSEWHERE, **OFF)
    with pytest.raises(CannotStart, match="--hsk-keep is about terms .*: leave it out, too, or raise"):
        build(data, teacher, "hsk", hsk_keep="nonsense", **OFF)


@pytest.mark.parametrize("method", GIVEN)
def test_without_them_a_method_is_plain_distillation(data, teacher, method):
    given = {} if method in ("alp_kd", "crd", "sda") else {"mapping": "last"}
    _, _, criterion = build(data, teacher, method, **given, **OFF, **(ELSEWHERE if method == "lad" else {}))
    assert not criterion.student_wanted.states


def test_a_term_that_a_first_stage_has_is_one(data, teacher):
    stages = {"two_stage": 0.5, "first_weights": [0.0, 0.0, 1.0], "fp16": False}
    build(data, teacher, "hsk", hsk_keep="1l", **stages, **OFF)


def test_what_is_about_the_logits_stays_of_use(data, teacher):
    build(data, teacher, "pkd", pkd_kl="mean", **OFF)
