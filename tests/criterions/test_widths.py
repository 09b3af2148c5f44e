"""Students that are narrower than their teacher, or have another number of heads."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.models.shape import ModelShape
from tests.tiny import batch, build, write_teacher

WIDE = ModelShape(layers=4, width=32, ffn=32, heads=4, max_positions=40)
NARROW = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_attention_heads": 4}
FEWER_HEADS = {**NARROW, "encoder_attention_heads": 2}

# With a learned map of the student's states, 16 -> 32.
HIDDEN = [
    "hidden_mse_learn",
    "hidden_mse_token",
    "att_mse_hidden_mse",
    "att_kl_hidden_mse",
    "pkd",
    "alp_kd",
    "hsk",
    "lad",
]
ATTENTION = ["att_kl_learn", "att_mse_learn", "minilm", "pearson"]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("wide") / "model.pt", WIDE)


def narrow(data, wide, method, model=NARROW, **options):
    return build(data, wide, method, layers="random", model=model, **options)


def learned(criterion) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in criterion.named_parameters() if name != "anchor"}


@pytest.mark.parametrize("method", HIDDEN)
def test_hidden_states_are_widened_by_one_learned_map(data, wide, method):
    task, student, criterion = narrow(data, wide, method, hard_weight=0.0, soft_weight=0.0)
    maps = {name: shape for name, shape in learned(criterion).items() if ".widen." in name}
    assert sorted(maps.values()) == [(32,), (32, 16)]

    loss, _, _ = criterion(student, batch(task, [0, 1, 2]))
    loss.backward()
    for name, parameter in criterion.named_parameters():
        assert parameter.grad is not None, name
        assert name == "anchor" or parameter.grad.abs().max() > 0, name


def test_the_loss_is_that_of_the_widened_states(data, wide):
    task, student, criterion = narrow(
        data, wide, "hidden_mse_token", mapping="1:2", hard_weight=0.0, soft_weight=0.0
    )
    sample = batch(task, [0, 1, 2])
    each, _, _ = criterion(student, sample, reduce=False)

    s = student(**sample["net_input"], wanted=criterion.student_wanted).states[1][:, 0]
    t = task.teacher.signals(sample, criterion.teacher_wanted).states[2][:, 0]
    weight, bias = (p for name, p in criterion.named_parameters() if name != "anchor")
    assert_close(each, (s @ weight.T + bias - t).square().mean(dim=1))


def test_padding_reaches_neither_the_loss_nor_the_map(data, wide):
    task, student, criterion = narrow(data, wide, "hidden_mse_learn", hard_weight=0.0, soft_weight=0.0)
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
@pytest.mark.parametrize("method", ATTENTION)
def test_as_many_heads_are_compared_whatever_their_width(data, wide, method):
    task, student, criterion = narrow(data, wide, method)
    loss, _, _ = criterion(student, batch(task, [0, 1]))
    assert torch.isfinite(loss)
    assert not learned(criterion)


def test_relations_need_neither_width_nor_heads(data, wide):
    task, student, criterion = narrow(data, wide, "minilm_v2", FEWER_HEADS, relation_heads=8)
    loss, _, _ = criterion(student, batch(task, [0, 1]))
    assert torch.isfinite(loss)
    assert not learned(criterion)


def test_all_states_are_compared_in_a_width_of_their_own(data, wide):
    _, _, criterion = narrow(data, wide, "crd", FEWER_HEADS, crd_feature_dim=12, crd_negatives=8)
    assert learned(criterion)["crd.loss.student_projection.weight"] == (12, 3 * 16)
    assert learned(criterion)["crd.loss.teacher_projection.weight"] == (12, 5 * 32)


def test_the_summary_tells_of_the_map(data, wide, caplog):
    with caplog.at_level("INFO"):
        narrow(data, wide, "hidden_mse_learn")
    assert "hidden: 0 <- 0  1 <- 2  2 <- 4  (student's width 16 -> 32 learned)" in caplog.text
