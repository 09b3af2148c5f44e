"""Relation losses, compared with loops, and the regrouping of heads."""

import math

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import relation_heads, relation_kl
from tests.originals import recorded


def test_relation_kl_equals_explicit_loops(random):
    """The student's vectors are 3 wide, the teacher's 5: each side is scaled by its own width."""
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1]]).bool()
    s, t = random(2, 2, 4, 3), random(2, 2, 4, 5)

    def relation(x, b, r, i, real):
        products = [math.exp(torch.dot(x[b, r, i], x[b, r, j]).item() / math.sqrt(x.size(-1))) for j in real]
        return [p / sum(products) for p in products]

    expected = []
    for b in range(2):
        real = [i for i in range(4) if mask[b, i]]
        total = 0.0
        for r in range(2):
            for i in real:
                pairs = zip(relation(s, b, r, i, real), relation(t, b, r, i, real), strict=True)
                total += sum(q * math.log(q / p) for p, q in pairs)
        expected.append(total / (2 * len(real)))

    assert_close(relation_kl(s, t, mask), torch.tensor(expected, dtype=s.dtype))


def test_heads_are_regrouped_token_by_token():
    """Two heads of width 3 hold dimensions 0..2 and 3..5 of a token; three relation heads hold two each."""
    joined = torch.arange(2 * 4 * 6).view(2, 4, 6)  # [B, T, H]
    attention_heads = joined.view(2, 4, 2, 3).transpose(1, 2)  # [B, A, T, d]

    regrouped = relation_heads(attention_heads, 3)

    assert regrouped.shape == (2, 3, 4, 2)
    for r in range(3):
        assert_close(regrouped[:, r], joined[:, :, 2 * r : 2 * r + 2])
    assert_close(relation_heads(attention_heads, 2), attention_heads)


def test_relations_do_not_mix_heads_and_tokens():
    """In contrast to the original: a student with 6 heads and a teacher with 4 are both regrouped to 4 relation heads."""
    d = recorded("minilm_v2_scrambled")
    ours = 0
    for name in ("query", "key", "value"):
        s, t = (relation_heads(d[f"in_{side}_{name}"][-1], 4) for side in ("student", "teacher"))
        ours += relation_kl(s, t, torch.ones(3, 7).bool()).mean().item()
    assert ours == pytest.approx(d["out_definition"], rel=1e-9)
    assert abs(ours - d["out_loss"]) > 0.05
