"""Attention over teacher layers: the loss by loops, and the attention that is logged."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.criterions.transfer import layer_attention
from fairseq_kd.losses import REACHES
from tests.tiny import batch, build

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}
# Two student layers, four of the teacher.
REACHED = {
    "all": {1: [1, 2, 3, 4], 2: [1, 2, 3, 4]},
    "prefix": {1: [1, 2], 2: [1, 2, 3, 4]},
    "buckets": {1: [1, 2], 2: [3, 4]},
    "neighbours": {1: [1, 2, 3], 2: [2, 3, 4]},
}


@pytest.mark.slow
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("scope", ["cls", "tokens"])
def test_the_loss_by_loops(data, teacher, reach, scope):
    task, student, criterion = build(data, teacher, "alp_kd", alp_scope=scope, alp_reach=reach, **ALONE)
    sample = batch(task, [0, 3, 11])
    criterion.eval()
    each, _, _ = criterion(student, sample, reduce=False)

    s = student(**sample["net_input"], wanted=criterion.student_wanted)
    t = task.teacher.signals(sample, criterion.teacher_wanted)
    for b in range(3):
        places = [0] if scope == "cls" else s.mask[b].nonzero().flatten().tolist()
        total, alpha = 0.0, {}
        for k, layers in REACHED[reach].items():
            for i in places:
                query = s.states[k][b, i]
                states = [t.states[layer][b, i] for layer in layers]
                weights = torch.stack([query @ state / 16**0.5 for state in states]).softmax(0)
                target = sum(weight * state for weight, state in zip(weights, states, strict=True))
                total += (query - target).square().mean() / len(places) / 2
                for layer, weight in zip(layers, weights, strict=True):
                    alpha[k, layer] = alpha.get((k, layer), 0.0) + weight / len(places)
        assert_close(each[b], total)
        for (k, layer), weight in alpha.items():
            assert_close(criterion.observed[f"alpha_{k}_{layer}"][b], weight.detach())
    assert len(criterion.observed) == sum(map(len, REACHED[reach].values()))


@pytest.mark.slow
def test_detached_attention_has_no_gradient(data, teacher):
    gradients = []
    for detach in (False, True):
        task, student, criterion = build(data, teacher, "alp_kd", alp_detach=detach, **ALONE)
        loss, _, _ = criterion(student, batch(task, [0, 1]))
        loss.backward()
        gradients.append((loss.item(), student.encoder.sentence_encoder.layers[1].fc2.weight.grad))
    (with_it, one), (without, other) = gradients
    assert with_it == pytest.approx(without)
    assert (one - other).abs().max() > 1e-4


def test_training_averages_no_attention(data, teacher, monkeypatch):
    task, student, criterion = build(data, teacher, "alp_kd", alp_scope="tokens", **ALONE)
    averaged = []
    monkeypatch.setattr(
        layer_attention, "mean_over_tokens", lambda scope, x, mask: averaged.append(x) or x[:, 0]
    )
    criterion(student, batch(task, [0, 1]))
    assert averaged == []
    criterion.eval()
    criterion(student, batch(task, [0, 1]))
    assert len(averaged) == 2
