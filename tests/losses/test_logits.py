"""Losses on logits, by hand, against torch's functions, and against the originals."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from fairseq_kd.losses import cross_entropy, kd, logits_mse, soft_cross_entropy, squared_error
from tests.originals import check_original, recorded, with_gradients


def test_kd_by_hand():
    """Two classes, T = 2: teacher (1/2, 1/2), student (1/4, 3/4); 4 (log 2 - log(3) / 2)."""
    s, t = torch.tensor([[0.0, 2 * math.log(3)]]), torch.zeros(1, 2)
    assert kd(s, t, 2.0).item() == pytest.approx(4 * (math.log(2) - math.log(3) / 2), rel=1e-6)


def test_kd_equals_soft_cross_entropy_minus_the_teachers_entropy(random):
    s, t = random(5, 3), random(5, 3)
    kl = soft_cross_entropy(s, t, 3.0) - soft_cross_entropy(t, t, 3.0)
    assert_close(kd(s, t, 3.0), 9 * kl)


def test_size_of_the_gradient_does_not_depend_on_the_temperature(random):
    """Hinton et al.: for high temperatures, T^2 KL has the gradient (s - t) / C of centred logits."""
    s, t = (x - x.mean(dim=-1, keepdim=True) for x in (random(5, 3), random(5, 3)))
    s.requires_grad_()
    kd(s, t, 1e4).sum().backward()
    assert_close(s.grad, (s.detach() - t) / 3, rtol=1e-2, atol=1e-3)


def test_label_losses_equal_torch(random):
    s, label = random(4, 3), torch.tensor([0, 2, 1, 1])
    assert_close(cross_entropy(s, label), -s.log_softmax(dim=-1)[range(4), label])
    assert_close(cross_entropy(s, label).mean(), F.cross_entropy(s, label))


def test_a_regression_target_is_compared_elementwise():
    s, target = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0.0, 2.0, 1.0])
    assert squared_error(s, target).tolist() == [1.0, 0.0, 9.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_labels_in_half_precision(dtype, random):
    s, label, target = random(4, 3).to(dtype), torch.tensor([0, 2, 1, 1]), torch.tensor([0.1, 5.0, 2.5, 3.3])
    assert_close(cross_entropy(s, label), cross_entropy(s.float(), label))
    assert_close(squared_error(s[:, 0], target), (s[:, 0].float() - target).square())


@pytest.mark.parametrize(
    ("name", "loss", "factor", "weights"),
    [
        ("kd", kd, 1, 1.0),  # a sum
        ("kd_t5", kd, 1, 1.0),
        ("soft_cross_entropy", soft_cross_entropy, 1 / 3, None),  # the mean over classes
        ("soft_cross_entropy_t4", soft_cross_entropy, 1 / 3, None),
        ("textbrewer_logits", soft_cross_entropy, 1, None),
    ],
)
def test_losses_equal_the_original(name, loss, factor, weights):
    d = with_gradients(recorded(name), "student_logits")
    each = factor * loss(d["in_student_logits"], d["in_teacher_logits"], d["opt_temperature"])
    check_original(d, each, ["student_logits"], weights)
    if name == "textbrewer_logits":
        found = logits_mse(d["in_student_logits"], d["in_teacher_logits"]).mean().item()
        assert found == pytest.approx(d["out_mse"], rel=1e-9)


def test_regression_is_not_broadcast_over_the_batch():
    """The release subtracts a teacher [B, 1] from a student [B]; the definition is elementwise."""
    d = recorded("kd_regression")
    s, t, each = d["in_student_logits"], d["in_teacher_logits"], d["out_each_sentence_alone"]
    assert_close(logits_mse(s, t), each, rtol=1e-6, atol=0)
    assert_close(squared_error(s, t.flatten()), each, rtol=1e-6, atol=0)
    total = 0.5 * squared_error(s, d["in_target"]) + 0.5 * logits_mse(s, t)
    assert total.sum().item() == pytest.approx(d["out_total_teacher_flat_w05"], rel=1e-6)
