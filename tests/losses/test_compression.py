"""Compression of hidden states, and the loss on compressed ones; `criterions/test_hsk.py` compares it with the original."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import Compression, compress, compressed_mse, hidden_mse
from fairseq_kd.losses.compression import fixed_dimensions
from tests.originals import recorded

B, T, A, H = 3, 6, 2, 8
# Sentences of 6, 4 and 3 tokens; the last one's real tokens are no prefix.
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1]]).bool()
SEPARATORS = torch.tensor([[0, 0, 1, 0, 0, 1], [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]).bool()

SCHEMES = [
    Compression(),
    Compression(tokens=3, length="left"),
    Compression(tokens=3, length="attention", ranking=2),
    Compression(tokens=3, length="attention_no_sep", ranking=2),
    Compression(tokens=9, length="attention", ranking=2),
    *(
        Compression(share=0.4, width=width)
        for width in ("magnitude", "magnitude_sentence", "uniform", "random")
    ),
    Compression(4, "attention_no_sep", 2, 0.5, "magnitude"),
    Compression(4, "attention_no_sep", 2, 0.3, "magnitude_sentence"),
]
every_scheme = pytest.mark.parametrize("how", SCHEMES, ids=str)


def loss(s, t, mask, scores, separators, how, teacher_alone=False):
    kept = compress(t, mask, how, scores, separators)
    return compressed_mse(kept.tokens_of(s), kept, teacher_alone)


@pytest.fixture
def inputs(random):
    return random(B, T, H), random(B, T, H), random(B, A, T, T)


def test_random_dimensions_equal_the_original_given_its_mask(monkeypatch):
    d = recorded("hsk_width_random")
    drawn = d["out_mask"].nonzero().squeeze(1)
    monkeypatch.setattr("fairseq_kd.losses.compression.fixed_dimensions", lambda *_: drawn)
    how = Compression(share=(len(drawn) + 0.5) / 16, width="random")
    s, t = d["in_student_hidden"], d["in_teacher_hidden"]
    each = sum(loss(s[k], t[k], d["in_mask"], None, None, how, True) for k in range(len(s)))
    assert_close(each, d["out_each_sentence_alone"], rtol=1e-9, atol=0)


def test_uniform_dimensions_equal_the_original():
    tables = recorded("hsk_uniform_tables")
    for name, kept in tables.items():
        _, _, width, share = name.split("_")
        found = fixed_dimensions("uniform", float(share), int(width), torch.device("cpu"))
        assert found.tolist() == kept.tolist(), name
    assert len(tables) > 10


def test_keeping_everything_equals_hidden_mse(inputs):
    s, t, scores = inputs
    assert_close(loss(s, t, MASK, scores, SEPARATORS, Compression()), hidden_mse(s, t, MASK), rtol=0, atol=0)
    all_tokens = Compression(tokens=9, length="attention", ranking=1)
    assert_close(loss(s, t, MASK, scores, SEPARATORS, all_tokens), hidden_mse(s, t, MASK))


@every_scheme
@pytest.mark.parametrize("teacher_alone", [False, True])
def test_batch_equals_its_sentences_one_by_one(inputs, how, teacher_alone):
    s, t, scores = inputs
    together = loss(s, t, MASK, scores, SEPARATORS, how, teacher_alone)
    for b in range(B):
        real = MASK[b].nonzero().flatten()
        own = s[b, None, real], t[b, None, real], torch.ones(1, len(real)).bool()
        own_scores = scores[b, None][:, :, real][:, :, :, real]
        alone = loss(*own, own_scores, SEPARATORS[b, None, real], how, teacher_alone)
        assert_close(together[b, None], alone, rtol=1e-12, atol=0)


@every_scheme
@pytest.mark.parametrize("teacher_alone", [False, True])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_padding_never_reaches_loss_or_gradient(inputs, how, teacher_alone, garbage):
    s, t, scores = inputs
    padded = ~MASK[:, :, None]

    def value_and_gradient(s, t, scores):
        s = s.clone().requires_grad_()
        value = loss(s, t, MASK, scores, SEPARATORS, how, teacher_alone)
        return value.detach(), torch.autograd.grad(value.sum(), s)[0]

    clean = value_and_gradient(s, t, scores)
    dirty_scores = scores.masked_fill(padded[:, None, :, 0, None] | ~MASK[:, None, None], garbage)
    dirty = value_and_gradient(s.masked_fill(padded, garbage), t.masked_fill(padded, garbage), dirty_scores)
    for expected, found in zip(clean, dirty, strict=True):
        assert_close(found, expected, rtol=0, atol=0)
    assert clean[1][~MASK].abs().max() == 0


@every_scheme
def test_sentence_without_real_tokens_has_loss_0(inputs, how):
    s, t, scores = inputs
    s.requires_grad_()
    value = loss(s, t, MASK & torch.tensor([[True], [True], [False]]), scores, SEPARATORS, how)
    value.sum().backward()
    assert value[2] == 0
    assert s.grad.isfinite().all()


@every_scheme
@pytest.mark.parametrize("teacher_alone", [False, True])
def test_gradients_equal_finite_differences(inputs, how, teacher_alone):
    s, t, scores = inputs
    assert torch.autograd.gradcheck(
        lambda s: loss(s, t, MASK, scores, SEPARATORS, how, teacher_alone), s.requires_grad_()
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", [SCHEMES[0], SCHEMES[-2]], ids=str)
def test_half_precision_inputs_are_computed_in_float32(inputs, how, dtype):
    s, t, scores = (x.to(dtype) for x in inputs)
    found = loss(s, t, MASK, scores, SEPARATORS, how)
    assert found.dtype == torch.float32
    expected = loss(s.double(), t.double(), MASK, scores.double(), SEPARATORS, how)
    assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_random_dimensions_do_not_depend_on_the_seed():
    torch.manual_seed(7)
    first = fixed_dimensions.__wrapped__("random", 0.25, 16, torch.device("cpu"))
    torch.manual_seed(8)
    assert torch.equal(first, fixed_dimensions.__wrapped__("random", 0.25, 16, torch.device("cpu")))
    assert len(set(first.tolist())) == 4


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (Compression(), "all"),
        (Compression(10, "attention", 12, 0.1, "magnitude"), "10t.attention.12_0.1h.magnitude"),
        (Compression(share=0.5, width="uniform"), "0.5h.uniform"),
        # 153 and 154 dimensions of 768 need different file names.
        (Compression(share=0.2005208, width="random"), "0.2005208h.random"),
        (Compression(share=0.2005209, width="random"), "0.2005209h.random"),
    ],
)
def test_names_are_short_and_unique(how, name):
    assert str(how) == name
