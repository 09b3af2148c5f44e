"""Values of a criterion's flags that cannot work are errors, which name the flag, the value and the fix."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from fairseq_kd.objectives import SentenceLabels
from tests.criterions.factory import STUDENT, criterion_of

# criterion and flags | a part of the only error
INVALID = r"""
kd --temperature 0.0 | --temperature 0.0 is out of range: give
kd --temperature -1.0 | --temperature -1.0 is out of range
kd --temperature nan | --temperature nan is out of range
kd --hard-weight -1.0 | --hard-weight -1.0 is out of range: give
kd --hard-weight inf | --hard-weight inf is out of range
kd --hard-weight 0 --soft-weight 0 | --hard-weight and --soft-weight and --inter-weight are all 0
hidden_mse_learn --inter-weight -0.5 | --inter-weight -0.5 is out of range
hidden_mse_learn --inter-weight nan | --inter-weight nan is out of range
hidden_mse_learn --mapping 3:9 | --mapping 3:9 names student state 3, but the student has 2 layers: use
hidden_mse_learn --mapping diagonal | --mapping diagonal is not a mapping: use skip, last
att_kl_hidden_mse --mapping combine | --mapping combine mixes all hidden states, but --criterion att_kl_hidden_mse
att_kl_learn --mapping 0:0 | --mapping 0:0 pairs only the embedding outputs, which have no attention: pair
att_kl_learn --mapping 0:2 | --mapping 0:2 pairs 0:2, but state 0 is the embedding output and has no attention: pair
minilm_v2 --mapping 0:1 | --mapping 0:1 pairs 0:1, but state 0 is the embedding output
att_kl_learn --attention-clamp 0.0 | --attention-clamp 0.0 is out of range: give
crd --crd-feature-dim 0 | --crd-feature-dim 0 is out of range: give
crd --crd-negatives 0 | --crd-negatives 0 is out of range: give
crd --crd-temperature 0.0 | --crd-temperature 0.0 is out of range: give
crd --crd-momentum 1.0 | --crd-momentum 1.0 is out of range: give
hsk --hsk-keep ten | --hsk-keep ten is not valid: give for example 1l_10t_0.1h
hsk --hsk-keep 4l | --hsk-keep 4l keeps 4 pairs of states, but --mapping has 3: give 3l
hsk --hsk-keep 0l | --hsk-keep 0l is out of range: give
hsk --hsk-keep 2h | --hsk-keep 2h is out of range
hsk --hsk-keep 0.05h | --hsk-keep 0.05h keeps less than one of the teacher's 16 dimensions: give
hsk --mapping combine | --mapping combine mixes all hidden states
lad --mapping 0:0 | --mapping 0:0 pairs only the embedding outputs, which have no gates: pair
lad --mapping 0:2 | --mapping 0:2 pairs 0:2, but state 0 is the embedding output and has no gates: pair
lad --mapping combine | --mapping combine mixes all hidden states
lad --mapping 2:1 | --mapping 2:1 gives the gates of --lad-form lad a single teacher layer, but they mix at least two: pair
lad --mapping 2:4 --lad-form reverse | --mapping 2:4 gives the gates of --lad-form reverse a single teacher layer
lad --mapping 1:1,2:4 --lad-form no | --mapping 1:1,2:4 pairs layer 1, which has none: pair
lad --lad-partial 3 | --lad-partial 3 is out of range: the student has 2 layers: give 1 to 2
lad --lad-partial 0 | --lad-partial 0 is out of range
lad --mapping last --lad-partial 1 | --lad-partial is below the student layers of all pairs of --mapping last
lad --gate-lr 0.0 | --gate-lr 0.0 is out of range: give a number above 0
lad --gate-lr nan | --gate-lr nan is out of range
lad --gate-lr inf | --gate-lr inf is out of range
lad --gate-weight-decay nan | --gate-weight-decay nan is out of range: give 0 or more
lad --gate-weight-decay -0.1 | --gate-weight-decay -0.1 is out of range
lad --gate-lr 1 --gate-total-updates 5 --gate-warmup-updates 5 | --gate-total-updates 5 is not above --gate-warmup-updates 5
lad --gate-warmup-updates 5 | --gate-warmup-updates without --gate-lr: the gates then have the student's rate; give
lad --gate-total-updates 5 | --gate-total-updates without --gate-lr
lad --gate-lr 1e-6 --gate-eps 1e-8 --optimizer-name adam | --gate-lr, --gate-eps need parameter groups
sda --sda-window two | --sda-window two is not a number
sda --sda-window -1 | --sda-window -1 is not a number
sda --sda-form ema --sda-decay 1.5 | --sda-decay 1.5 is out of range
sda --sda-form voted --sda-window all | --sda-form voted runs every model
sda --sda-form voted --sda-window 00 | --sda-form voted runs every model
sda --sda-form voted --sda-window 2 --sda-evaluate average | --sda-evaluate average evaluates one model
sda --sda-evaluate average | --sda-evaluate average needs several parameter sets
sda --sda-window 01 --sda-evaluate average | --sda-evaluate average needs several parameter sets
sda --amp | --amp makes an update even if a gradient overflowed
att_kl_learn --two-stage 0 | --two-stage 0 is out of range: give
att_kl_learn --two-stage 1 | --two-stage 1 is out of range: give
att_kl_learn --two-stage 0.5 --first-weights 1,0 | --first-weights 1,0 must be three numbers: give HARD,SOFT,INTER
att_kl_learn --two-stage 0.5 --first-weights 0,0,0 | --first-weights are all 0
att_kl_learn --two-stage 0.5 --first-weights 1,0,-1 | --first-weights -1.0 is out of range
att_kl_learn --two-stage 0.5 --first-weights 1,0,nan | --first-weights nan is out of range
att_kl_learn --first-weights 0,1,0 | --first-weights 0,1,0 has no effect without a first stage: give --two-stage
kd --two-stage 0.5 --first-weights 1,0,1 | --first-weights 1,0,1 has a third weight, but --criterion kd
att_kl_learn --two-stage 0.5 --fp16 | --two-stage 0.5 .* --fp16 .*: add --fp16-no-flatten-grads
""".strip().splitlines()


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row.partition(" |")[0])
def test_an_invalid_flag_is_the_only_error(row):
    words, _, expected = row.partition(" | ")
    [error] = criterion_of(words).errors
    assert re.search(expected, error), error


NARROW = replace(STUDENT, width=8, heads=2)
HEADS = replace(STUDENT, heads=8)
DEEP = replace(STUDENT, layers=10)


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        ("att_mse_learn", {"student": HEADS}, "student has 8 heads and the teacher 4: .* --encoder-attention-heads 4"),
        ("pearson", {"student": NARROW}, "--encoder-attention-heads 4, or --criterion minilm_v2"),
        ("minilm_v2", {"student": NARROW}, "the student has 2 heads and the teacher 4: give --relation-heads"),
        ("minilm_v2 --relation-heads 16", {"student": NARROW}, "--relation-heads 16 .* student's width of 8: give"),
        ("alp_kd --alp-reach prefix", {"student": DEEP}, "--alp-reach prefix gives student layer 1 of 10 no .*: use"),
        ("alp_kd --alp-reach buckets", {"student": DEEP}, "--alp-reach buckets gives student layer 1 of 10 no"),
        ("att_kl_learn", {"teacher": None}, "--criterion att_kl_learn needs a teacher, .*: give --teacher"),
        ("kd", {"logits_error": "no logits."}, "^no logits.$"),
        ("crd", {"train_labels": lambda: None}, "DATA has no labels for train, but --criterion crd needs them"),
        ("crd", {"train_labels": lambda: np.array([1, -100])}, "--unlabelled-subset .* --criterion crd needs labels"),
        ("crd", {"train_labels": lambda: np.array([1, 1])}, "all sentences of train in DATA have the same label"),
        ("crd", {"objective": SentenceLabels(1, True)}, r"--criterion crd contrasts .* \(regression\)"),
    ],
)  # fmt: skip
def test_models_and_data_that_do_not_fit_are_the_only_error(words, given, expected):
    [error] = criterion_of(words, **given).errors
    assert re.search(expected, error), error


def test_as_many_relation_heads_as_divide_both_widths():
    assert len(criterion_of("minilm_v2 --relation-heads 0", student=NARROW).errors) == 2
    assert criterion_of("minilm_v2 --relation-heads 8", student=NARROW).errors == []


def test_parameters_that_a_stage_does_not_train_are_an_error_with_ddp(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    [error] = criterion_of("att_kl_learn --two-stage 0.5 --ddp-backend pytorch_ddp").errors
    assert re.search("--two-stage 0.5 .* --ddp-backend pytorch_ddp: add --find-unused-parameters", error)
    for allowed in (
        "--two-stage 0.5 --ddp-backend pytorch_ddp --find-unused-parameters",
        "--two-stage 0.5 --ddp-backend legacy_ddp",
        "--ddp-backend pytorch_ddp",
    ):
        assert criterion_of(f"att_kl_learn {allowed}").errors == []


@pytest.mark.parametrize("flags", ["--two-stage 0.5 --fp16 --fp16-no-flatten-grads",
                                   "--two-stage 0.5 --fp16 --memory-efficient-fp16", "--fp16"])  # fmt: skip
def test_stages_train_in_half_precision_without_one_vector_of_all_weights(flags):
    assert criterion_of(f"att_kl_learn {flags}").errors == []
