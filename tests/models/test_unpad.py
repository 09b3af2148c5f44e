import pytest
import torch

from fairseq_kd.models.encoder import LMHead
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.models.unpad import Packing, filler

MASK = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)


def test_packing_keeps_real_tokens_in_order():
    x = torch.arange(6).view(2, 3)
    packing = Packing.of(MASK, None, padded=True)
    assert packing.pack(x)[:4].tolist() == [0, 1, 2, 3]
    assert packing.unpack(packing.pack(x)).tolist() == [[0, 1, 2], [3, 0, 0]]


def test_positions_known_to_the_caller_are_taken():
    packing = Packing.of(MASK, torch.tensor([0, 1, 2, 3]), padded=True)
    assert packing.pack(torch.arange(6).view(2, 3))[:4].tolist() == [0, 1, 2, 3]


def test_an_unpadded_batch_is_only_reshaped():
    x = torch.arange(6).view(2, 3)
    packing = Packing.of(torch.ones(2, 3, dtype=torch.bool), None, padded=False)
    assert packing.pack(x).data_ptr() == x.data_ptr()
    assert torch.equal(packing.unpack(packing.pack(x)), x)
    assert packing.key_bias(MASK, torch.float32) is None


def test_padded_keys_get_the_lowest_score():
    bias = Packing.of(MASK, None, padded=True).key_bias(MASK, torch.float32)
    lowest = torch.finfo(torch.float32).min
    assert bias.tolist() == [[[[0, 0, 0]]], [[[0, lowest, lowest]]]]


def test_gradients_reach_real_tokens_alone():
    x = torch.ones(2, 3, requires_grad=True)
    packing = Packing.of(MASK, None, padded=True)
    packing.unpack(packing.pack(x) * 2).sum().backward()
    assert x.grad.tolist() == [[2, 2, 2], [2, 0, 0]]


def test_gradients_are_those_of_differences():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    packing = Packing.of(mask, None, padded=True)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: packing.unpack(packing.pack(x).sin()), x)


def test_filler_costs_little_and_sizes_are_few():
    sizes = {real + filler(real) for real in range(4096, 8192)}
    assert len(sizes) == 65
    assert max(filler(real) / real for real in range(1024, 8192)) < 1 / 64


def test_filler_rows_have_no_effect():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    packing = Packing.of(MASK, None, padded=True)
    packed = packing.pack(x + 1)
    assert packed.shape == (16,)
    weights = torch.arange(16.0, requires_grad=True)
    packing.unpack(packed * weights).sum().backward()
    assert weights.grad.tolist() == [1, 2, 3, 4] + [0] * 12
    assert x.grad.tolist() == [[0, 1, 2], [3, 0, 0]]


@pytest.mark.parametrize("words", [0, 1, 16, 37])
def test_word_scores_are_made_in_few_sizes_too(words):
    torch.manual_seed(1)
    shape = ModelShape(layers=1, width=8, ffn=8, heads=2, max_positions=9)
    head, rows = LMHead(shape, torch.nn.Parameter(0.02 * torch.randn(11, 8))), []
    head.dense.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    features = torch.randn(words, 8, requires_grad=True)
    scores = head(features)
    assert scores.shape == (words, 11)
    assert rows == [words + filler(words)]
    scores.sum().backward()
    alone = features.detach().clone().requires_grad_()
    for one in alone.split(1):
        head(one).sum().backward()
    torch.testing.assert_close(features.grad, alone.grad if words else features.grad)


@pytest.mark.parametrize(("threads", "length", "alone"), [(1, 8, 1), (2, 127, 0), (2, 128, 1), (8, 255, 0)])
def test_sentences_are_computed_alone_if_they_occupy_all_threads(monkeypatch, threads, length, alone):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    packing = Packing.of(torch.ones(2, length, dtype=torch.bool), None, padded=False)
    assert packing.lengths == ([length, length] if alone else None)
