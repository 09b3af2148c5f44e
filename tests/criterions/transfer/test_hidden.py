"""Students that are narrower than their teacher, and a learned mixture of states."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models.shape import ModelShape
from tests.tiny import SHAPE, batch, build, write_teacher

WIDE = ModelShape(layers=4, width=32, ffn=32, heads=4, max_positions=40)
NARROW = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_attention_heads": 4}
ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}
FEWER_HEADS = {**NARROW, "encoder_attention_heads": 2}

# With a learned map of the student's states, 16 -> 32.
HIDDEN = "hidden_mse_learn hidden_mse_token att_mse_hidden_mse att_kl_hidden_mse pkd alp_kd hsk lad".split()


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("wide") / "model.pt", WIDE)


def narrow(data, wide, method, model=NARROW, **options):
    return build(data, wide, method, layers="random", model=model, **options)


def learned(criterion) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in criterion.named_parameters() if name != "anchor"}


@pytest.mark.parametrize("method", HIDDEN)
def test_hidden_states_are_widened_by_one_learned_map(data, wide, method):
    task, student, criterion = narrow(data, wide, method, **ALONE)
    maps = {name: shape for name, shape in learned(criterion).items() if ".widen." in name}
    assert sorted(maps.values()) == [(32,), (32, 16)]

    loss, _, _ = criterion(student, batch(task, [0, 1, 2]))
    loss.backward()
    for name, parameter in criterion.named_parameters():
        assert parameter.grad is not None, name
        assert name == "anchor" or parameter.grad.abs().max() > 0, name


def test_the_loss_is_that_of_the_widened_states(data, wide):
    task, student, criterion = narrow(data, wide, "hidden_mse_token", mapping="1:2", **ALONE)
    sample = batch(task, [0, 1, 2])
    each, _, _ = criterion(student, sample, reduce=False)

    s = student(**sample["net_input"], wanted=criterion.student_wanted).states[1][:, 0]
    t = task.teacher.signals(sample, criterion.teacher_wanted).states[2][:, 0]
    weight, bias = (p for name, p in criterion.named_parameters() if name != "anchor")
    assert_close(each, (s @ weight.T + bias - t).square().mean(dim=1))


def test_padding_reaches_neither_the_loss_nor_the_map(data, wide):
    task, student, criterion = narrow(data, wide, "hidden_mse_learn", **ALONE)
    weight = criterion.hidden.widen.linear.weight
    sample = batch(task, [0, 3, 11])
    loss, _, _ = criterion(student, sample)
    (expected,) = torch.autograd.grad(loss, weight)

    tokens = sample["net_input"]["src_tokens"]
    padding = torch.ones(len(tokens), 5, dtype=torch.long)
    sample["net_input"] = {"src_tokens": torch.cat([tokens, padding], dim=1), "padded": True}
    padded, _, _ = criterion(student, sample)
    assert_close(padded, loss)
    assert_close(torch.autograd.grad(padded, weight)[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["att_kl_learn", "att_mse_learn", "minilm", "pearson", "minilm_v2"])
def test_attention_and_relations_need_no_map(data, wide, method):
    heads, options = (FEWER_HEADS, {"relation_heads": 8}) if method == "minilm_v2" else (NARROW, {})
    task, student, criterion = narrow(data, wide, method, heads, **options)
    loss, _, _ = criterion(student, batch(task, [0, 1]))
    assert torch.isfinite(loss)
    assert not learned(criterion)


def test_all_states_are_compared_in_a_width_of_their_own(data, wide):
    _, _, criterion = narrow(data, wide, "crd", FEWER_HEADS, crd_feature_dim=12, crd_negatives=8)
    assert learned(criterion)["crd.loss.student_projection.weight"] == (12, 3 * 16)
    assert learned(criterion)["crd.loss.teacher_projection.weight"] == (12, 5 * 32)


def test_the_mixture_can_leave_out_the_embedding_outputs(data, teacher):
    task, student, criterion = build(data, teacher, "hidden_mse_learn", mapping="combine-layers", **ALONE)
    mixture = criterion.hidden.mixture.projection
    assert mixture.weight.shape == (2 * SHAPE.width, 4 * SHAPE.width)
    assert criterion.hidden.describe_pairs() == "1..2 <- a learned mixture of 1..4"

    sample = batch(task, range(3))
    s = student(**sample["net_input"], wanted=criterion.student_wanted).states
    t = task.teacher.signals(sample, criterion.teacher_wanted).states
    assert sorted(s) == [1, 2]
    assert sorted(t) == [1, 2, 3, 4]
    mask = sample["net_input"]["src_tokens"].ne(1)
    learned = mixture(torch.cat([t[k] for k in (1, 2, 3, 4)], -1).masked_fill(~mask[:, :, None], 0))
    difference = (torch.cat([s[1], s[2]], -1) - learned).square().masked_fill(~mask[:, :, None], 0)
    expected = (difference.sum((1, 2)) / (mask.sum(1) * 2 * SHAPE.width)).sum()
    assert_close(criterion(student, sample)[0], expected)
