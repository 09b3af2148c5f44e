"""The losses against numbers recorded from the original implementations; see tests/golden/README.md.

`out_loss` of a file is the original's scalar, a weighted sum of our one number per sentence. Usually,
it is the mean over the B sentences. A constant factor is added if the original sums over an axis
that we average, or the reverse. The gradients are those of that scalar.
"""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fairseq_kd.losses import (
    attention_kl,
    attention_mse,
    hidden_mse,
    kd,
    logits_mse,
    patience,
    pearson_attention,
    relation_heads,
    relation_kl,
    soft_cross_entropy,
    squared_error,
    token_mse,
)

SKIP = [(1, 4), (2, 8), (3, 12)]
SKIP_WITH_EMBEDDING = [(0, 0), *SKIP]


def temperature(loss):
    return lambda d: loss(d["in_student_logits"], d["in_teacher_logits"], d["opt_temperature"])


def hidden(pairs):
    def compute(d):
        s, t = d["in_student_hidden"], d["in_teacher_hidden"]
        return sum(hidden_mse(s[i], t[j], all_real(s)) for i, j in pairs)

    return compute


def token(loss, pairs):
    def compute(d):
        s, t = d["in_student_hidden"], d["in_teacher_hidden"]
        return sum(loss(s[i][:, 0], t[j][:, 0]) for i, j in pairs)

    return compute


def attention(loss, pairs, **options):
    def compute(d):
        s, t = d["in_student_attention"], d["in_teacher_attention"]
        return sum(loss(s[i - 1], t[j - 1], all_real(s), **options) for i, j in pairs)

    return compute


def relation(signals, pairs):
    def compute(d):
        total = 0
        for signal in signals:
            s, t = d[f"in_student_{signal}"], d[f"in_teacher_{signal}"]
            heads = d.get("opt_relation_heads", s.size(2))
            total += sum(
                relation_kl(relation_heads(s[i - 1], heads), relation_heads(t[j - 1], heads), all_real(s, -2))
                for i, j in pairs
            )
        return total

    return compute


def both(*parts):
    return lambda d: sum(part(d) for part in parts)


def combine(d):
    s, t = (torch.cat(list(d[f"in_{side}_hidden"]), dim=-1) for side in ("student", "teacher"))
    return hidden_mse(s, t @ d["in_weight"].T + d["in_bias"], all_real(s, 1))


def padded(loss, signal):
    return lambda d: loss(d[f"in_student_{signal}"], d[f"in_teacher_{signal}"], d["in_mask"].bool())


def patience_layers(d):
    s, t = d["in_student_patience"], d["in_teacher_patience"]
    layers = [patience(s[:, j], t[:, j], normalize=d["opt_normalize"]) for j in range(s.size(1))]
    return sum(layers) / len(layers)


def one_layer_patience(d):
    return patience(d["in_student_hidden"][:, 0], d["in_teacher_hidden"][:, 0])


def pearson(d):
    s, t = d["in_student_attention"], d["in_teacher_attention"]
    return pearson_attention(s, t, all_real(s))


def cross_entropy_of_attention(d):
    """Return our KL plus the teacher's entropy, which the original includes."""
    s, t = d["in_student_attention"], d["in_teacher_attention"]
    p_t = t.softmax(dim=-1)
    entropy = -(p_t * p_t.log()).sum(dim=-1).mean(dim=(1, 2))
    return attention_kl(s, t, all_real(s)) + entropy


def all_real(x: Tensor, tokens_dim: int = -2) -> Tensor:
    return torch.ones(3, x.size(tokens_dim), dtype=torch.bool)


def sum_over_sentences(d, ours):
    return torch.ones_like(ours)


def mean_over_sentences(factor=1.0):
    return lambda d, ours: torch.full_like(ours, factor / len(ours))


def weighted_by_length(power):
    """Return a function for originals that average over all real tokens (or pairs) of the batch."""

    def weights(d, ours):
        count = d["in_mask"].sum(dim=1).to(ours.dtype) ** power
        return count / count.sum()

    return weights


MEAN = mean_over_sentences()
QKV = ("query", "key", "value")
LAST = [(3, 12)]
AGNOSTIC_LAST = [(6, 12)]

# file, our [B], weights that turn [B] into out_loss, tolerance in float64 if it is not 1e-9
CASES = [
    ("kd", temperature(kd), sum_over_sentences, None),
    ("kd_t5", temperature(kd), sum_over_sentences, None),
    ("hidden_mse_learn_skip", hidden(SKIP_WITH_EMBEDDING), MEAN, None),
    ("hidden_mse_learn_last", hidden(LAST), MEAN, None),
    ("hidden_mse_learn_combine", combine, MEAN, None),
    ("hidden_mse_token_skip", token(token_mse, SKIP_WITH_EMBEDDING), MEAN, None),
    ("hidden_mse_token_last", token(token_mse, LAST), MEAN, None),
    ("att_mse_learn", attention(attention_mse, SKIP), MEAN, None),
    ("att_kl_learn", attention(attention_kl, SKIP), MEAN, None),
    ("att_kl_learn_clamped", attention(attention_kl, SKIP, clamp=1e-7), MEAN, None),
    ("minilm_all", both(attention(attention_kl, SKIP), relation(["value"], SKIP)), MEAN, None),
    ("minilm_last", both(attention(attention_kl, LAST), relation(["value"], LAST)), MEAN, None),
    ("qkv_relation", relation(QKV, SKIP), MEAN, None),
    ("agnostic_att_mse_last", attention(attention_mse, AGNOSTIC_LAST), MEAN, 2e-6),  # float32 there
    ("agnostic_hidden_mse_last", hidden([(5, 11)]), MEAN, None),  # no embedding output in these lists
    ("agnostic_hidden_mse_combine", combine, MEAN, None),
    ("minilm_v2", relation(QKV, AGNOSTIC_LAST), MEAN, None),
    ("minilm_v2_other_width", relation(QKV, AGNOSTIC_LAST), MEAN, None),
    ("minilm_v2_relation_heads", relation(QKV, AGNOSTIC_LAST), MEAN, None),
    ("pearson", pearson, MEAN, 1e-6),
    (
        "pkd_acl2023",
        token(patience, SKIP_WITH_EMBEDDING),
        mean_over_sentences(3 * 24),
        None,
    ),  # sums over B, H
    ("soft_cross_entropy", temperature(soft_cross_entropy), mean_over_sentences(1 / 3), None),  # mean over C
    ("soft_cross_entropy_t4", temperature(soft_cross_entropy), mean_over_sentences(1 / 3), None),
    ("pkd_normalized", patience_layers, MEAN, 1e-6),  # float32 there
    ("pkd_unnormalized", patience_layers, MEAN, 1e-6),
    ("textbrewer_hid_mse", padded(hidden_mse, "hidden"), weighted_by_length(1), None),
    ("textbrewer_att_mse", padded(attention_mse, "attention"), weighted_by_length(2), None),
    ("textbrewer_pkd", one_layer_patience, mean_over_sentences(24), None),  # sum over H
    ("textbrewer_logits", temperature(soft_cross_entropy), MEAN, None),
    ("textbrewer_att_ce", cross_entropy_of_attention, MEAN, None),
]


@pytest.mark.parametrize(
    ("name", "compute", "weights", "float64_tolerance"), CASES, ids=[c[0] for c in CASES]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradients_equal_the_original(golden, name, compute, weights, float64_tolerance, dtype):
    d = golden(name, dtype)
    tolerance = max(float64_tolerance or 1e-9, 1e-5 if dtype == torch.float32 else 0)
    grads = {key.removeprefix("grad_"): value for key, value in d.items() if key.startswith("grad_")}
    for key in grads:
        d[f"in_{key}"].requires_grad_()

    ours = compute(d)
    loss = (ours * weights(d, ours)).sum()
    loss.backward()

    assert ours.shape == (3,)
    assert ours.dtype == dtype
    assert loss.item() == pytest.approx(d["out_loss"], rel=tolerance)
    for key, grad in grads.items():
        assert_close(d[f"in_{key}"].grad, grad, rtol=0, atol=tolerance * grad.abs().max().item())


@pytest.mark.parametrize(
    ("name", "compute", "factor"),
    [
        ("kd", temperature(kd), 1),
        ("hidden_mse_learn_skip", hidden(SKIP_WITH_EMBEDDING), 1),
        ("att_kl_learn", attention(attention_kl, SKIP), 1),
        ("att_mse_learn", attention(attention_mse, SKIP), 1),
        ("minilm_all", both(attention(attention_kl, SKIP), relation(["value"], SKIP)), 1),
        ("minilm_v2_other_width", relation(QKV, AGNOSTIC_LAST), 1),
        ("pkd_acl2023", token(patience, SKIP_WITH_EMBEDDING), 24),
        ("soft_cross_entropy_t4", temperature(soft_cross_entropy), 1 / 3),
        ("textbrewer_hid_mse", padded(hidden_mse, "hidden"), 1),
        ("textbrewer_att_mse", padded(attention_mse, "attention"), 1),
    ],
)
def test_number_of_a_sentence_equals_the_original_on_it_alone(golden, name, compute, factor):
    d = golden(name, torch.float64)
    tolerance = 1e-7 if name == "kd" else 1e-9  # temperature and sum were float32 there
    assert_close(compute(d) * factor, d["out_each_sentence_alone"], rtol=tolerance, atol=0)


def test_each_pearson_axis_equals_the_original(golden):
    """The original's four terms. In a batch of one, the batch term is 1, because nothing varies."""
    d = golden("pearson", torch.float64)
    s, t = d["in_student_attention"], d["in_teacher_attention"]
    alone = torch.cat([pearson_attention(s[b, None], t[b, None], all_real(s)[b, None]) for b in range(3)])
    own_terms = d["out_loss_keys"] + d["out_loss_queries"] + d["out_loss_heads"]
    assert alone.mean().item() == pytest.approx(own_terms + 1, rel=1e-6)
    assert pearson(d)[0].item() - alone[0].item() == pytest.approx(d["out_loss_batch"] - 1, rel=1e-6)


def test_relations_do_not_mix_heads_and_tokens(golden):
    """Student with 6 heads, teacher with 4: both regrouped to 4 relation heads."""
    d = golden("minilm_v2_scrambled", torch.float64)
    d["opt_relation_heads"] = 4
    ours = relation(QKV, AGNOSTIC_LAST)(d).mean().item()
    assert ours == pytest.approx(d["out_definition"], rel=1e-9)
    assert abs(ours - d["out_loss"]) > 0.05


def test_textbrewer_logits_mse(golden):
    d = golden("textbrewer_logits", torch.float64)
    ours = logits_mse(d["in_student_logits"], d["in_teacher_logits"]).mean().item()
    assert ours == pytest.approx(d["out_mse"], rel=1e-9)


def test_regression_is_not_broadcast_over_the_batch(golden):
    """The release subtracts a teacher [B, 1] from a student [B]; the definition is elementwise."""
    d = golden("kd_regression", torch.float64)
    s, t, target = d["in_student_logits"], d["in_teacher_logits"], d["in_target"]
    each = d["out_each_sentence_alone"]

    assert_close(logits_mse(s, t), each, rtol=1e-6, atol=0)
    assert_close(squared_error(s, t.flatten()), each, rtol=1e-6, atol=0)
    total = 0.5 * squared_error(s, target) + 0.5 * logits_mse(s, t)
    assert total.sum().item() == pytest.approx(d["out_total_teacher_flat_w05"], rel=1e-6)
