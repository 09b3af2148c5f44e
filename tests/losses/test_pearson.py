"""The correlation of attention; the criterion tests compare its sum and gradients with the original."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import pearson_attention
from tests.originals import recorded


def test_each_axis_equals_the_original():
    """In a batch of one, the batch term is 1, because nothing varies."""
    d = recorded("pearson")
    s, t, real = d["in_student_attention"], d["in_teacher_attention"], torch.ones(3, 7).bool()
    together = pearson_attention(s, t, real)
    alone = torch.cat([pearson_attention(s[b, None], t[b, None], real[b, None]) for b in range(3)])
    own_terms = d["out_loss_keys"] + d["out_loss_queries"] + d["out_loss_heads"]
    assert alone.mean().item() == pytest.approx(own_terms + 1, rel=1e-6)
    assert_close(together - alone, torch.full((3,), d["out_loss_batch"] - 1).double(), rtol=1e-6, atol=0)
