import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from fairseq_kd.losses import cross_entropy, in_chunks, kd

WORDS = 11


def rows(count: int):
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(count, 4, generator=generator, requires_grad=True)
    teacher = torch.randn(count, 6, generator=generator)
    return student, teacher, torch.randint(WORDS, (count,), generator=generator)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_chunks_do_not_change_values_or_gradients(size):
    torch.manual_seed(1)
    mine, theirs = nn.Linear(4, WORDS), nn.Linear(6, WORDS)

    def terms(s, t, y):
        logits = mine(s)
        return torch.stack([cross_entropy(logits, y), kd(logits, theirs(t), 2.0)])

    given = rows(7)
    plain = terms(*given)
    wanted = torch.autograd.grad(plain.sum(), [given[0], *mine.parameters()])
    found = in_chunks(terms, given, size)

    assert_close(found, plain)
    for gradient, expected in zip(
        torch.autograd.grad(found.sum(), [given[0], *mine.parameters()]), wanted, strict=True
    ):
        assert_close(gradient, expected)


def test_at_most_one_chunk_is_held_for_the_gradient():
    held = []

    def terms(s, y):
        return F.cross_entropy(s @ torch.ones(4, WORDS), y, reduction="none")

    student, _, target = rows(12)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.shape) or t, lambda t: t):
        terms(student, target)
        plain = [shape for shape in held if shape[-1:] == (WORDS,)]
        held.clear()
        in_chunks(terms, (student, target), 4)

    assert plain  # log-probabilities [12, V]
    assert not [shape for shape in held if shape[-1:] == (WORDS,)]
