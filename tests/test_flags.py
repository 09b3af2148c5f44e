"""Flags without effect are listed in a warning, never refused."""

import re
from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

from fairseq_kd.criterions.config import IntermediateConfig
from fairseq_kd.describe import describe
from fairseq_kd.flags import flag_name, unused, warn_unused
from tests.criterions.factory import criterion_of
from tests.tiny import batch, build

METHODS = list(describe()["criterions"])  # here, because tests register more

# One value of each that is not its default, and is right where the method's terms have a weight.
GIVEN = {
    "alp_kd": "--alp-scope tokens --alp-reach prefix --alp-detach",
    "att_kl_hidden_mse": "--attention-clamp 1e-7",
    "att_kl_learn": "--attention-clamp 1e-7",
    "crd": "--crd-feature-dim 8 --crd-negatives 3 --crd-temperature 0.1 --crd-momentum 0.1",
    "hsk": "--hsk-keep 1l --hsk-length left --hsk-width uniform --hsk-ranking skip --hsk-teacher-alone",
    "lad": "--gate-lr 1e-5 --gate-warmup-updates 1 --gate-total-updates 9 --gate-weight-decay 0.1 --gate-clip-norm 1 "
    "--gate-betas (0.9,0.9) --gate-eps 1e-6 --lad-form no --lad-partial 1 --lad-scope cls --lad-frozen",
    "minilm": "--attention-clamp 1e-7",
    "minilm_v2": "--relation-heads 2",
    "pkd": "--pkd-unnormalized",
    "sda": "--sda-form ema --sda-window 3 --sda-decay 0.9 --sda-host",
}


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", text))


@pytest.mark.parametrize("method", METHODS)
def test_flags_of_terms_without_weight_are_listed(method):
    """Of each method, which then is plain distillation."""
    given = GIVEN.get(method, "")
    criterion = criterion_of(f"{method} {given}" + (" --inter-weight 0" if method != "kd" else ""))
    if given:
        [entry] = criterion.unused
        assert (flags_in(entry.partition(" (")[0]), entry.partition(" (")[2]) == (
            flags_in(given),
            "--inter-weight 0)",
        )
    else:
        assert criterion.unused == []
    assert criterion.errors == []
    assert not criterion.student_wanted.states

    shared = {field.name for field in fields(IntermediateConfig)}
    own = {
        each.name
        for each in fields(CRITERION_DATACLASS_REGISTRY[method])
        if not str(each.default).startswith("${")
    }
    # Validations may evaluate sda's average, and pkd's KL has an effect, whatever the weight of their terms.
    elsewhere = {"pkd": {"--pkd-kl"}, "sda": {"--sda-evaluate"}}.get(method, set())
    assert set(map(flag_name, own - shared)) == flags_in(given) | elsewhere


def test_values_of_flags_without_effect_are_not_checked():
    criterion = criterion_of("hsk --hsk-keep nonsense --inter-weight 0")
    assert (criterion.errors, criterion.unused) == ([], ["--hsk-keep (--inter-weight 0)"])


@pytest.mark.parametrize(
    "words",
    [
        "hsk --hsk-keep 1l --two-stage 0.5 --first-weights 0,0,1",  # a term of the first stage
        "pkd --pkd-kl mean",
        "sda --sda-evaluate average --sda-window all",
    ],
)
def test_flags_with_an_effect_are_not_listed(words):
    assert criterion_of(f"{words} --inter-weight 0").unused == []


def test_all_of_a_run_are_in_one_warning(data, teacher, tmp_path, caplog):
    cache = {"teacher_cache": str(tmp_path / "cache")}
    weights = {"soft_weight": 0.0, "inter_weight": 0.0, "hard_weight": 1.0, "hsk_keep": "1l"}
    task, student, criterion = build(data, teacher, "hsk", task=cache, **weights)
    criterion(student, batch(task, [0, 1]))
    [warning] = [record.message for record in caplog.records if "without effect" in record.message]
    assert warning.startswith(
        "flags without effect: --hsk-keep (--inter-weight 0); --teacher-cache (--criterion hsk with these weights"
    )
    assert not (tmp_path / "cache").exists()


def test_without_such_flags_there_is_no_warning(caplog):
    warn_unused(unused([], "no reason"))
    assert not caplog.records
