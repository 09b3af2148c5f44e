"""Losses of masked words: those of fairseq, whatever the batch and the chunk; and how terms add up."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.models.roberta import RobertaModel, base_architecture
from torch.testing import assert_close

from fairseq_kd.losses import attention_kl, kd
from tests.tasks.test_masked_lm_kd import TOKENS, stock_task
from tests.tiny import SHAPE, batch, pretraining

METHODS = [
    ("kd", {"hard_weight": 0.5, "soft_weight": 0.5}),
    ("kd", {}),
    ("att_kl_learn", {}),
    ("att_kl_learn", {"hard_weight": 0.5, "soft_weight": 0.5}),
    ("hidden_mse_learn", {"mapping": "combine"}),
    ("minilm", {}),
    ("minilm_v2", {"hard_weight": 1.0}),
    ("lad", {}),
    ("alp_kd", {"alp_scope": "tokens"}),
]


def first_indices(task) -> list[int]:
    task.load_dataset("train")
    return task.dataset("train").ordered_indices()[:7].tolist()


@pytest.mark.slow
def test_plain_masked_lm_is_that_of_fairseq(text, lm_teacher):
    task, student, criterion = pretraining(text, None, "kd", hard_weight=1.0, soft_weight=0.0,
                                           layers="all", model={"init_from": str(lm_teacher)})  # fmt: skip
    args = Namespace(encoder_layers=SHAPE.layers, encoder_embed_dim=SHAPE.width, encoder_ffn_embed_dim=SHAPE.ffn,
                     encoder_attention_heads=SHAPE.heads, max_positions=SHAPE.max_positions)  # fmt: skip
    base_architecture(args)
    stock = stock_task(text)
    model = RobertaModel.build_model(args, stock)
    model.load_state_dict(student.state_dict(), strict=False)
    reference = MaskedLmLoss(SimpleNamespace(tpu=False), stock)

    indices = first_indices(task)
    examples = [stock.dataset("train")[index] for index in indices]
    expected, size, _ = reference(model.eval(), stock.dataset("train").collater(examples))
    found, ours, logged_here = criterion(student, batch(task, indices, "train"))

    assert ours == int(size)
    assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert_close(logged_here["token_hard"], expected.detach(), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_batch_is_its_blocks_one_by_one(text, lm_teacher, method, options):
    task, student, criterion = pretraining(text, lm_teacher, method, **options)
    indices = first_indices(task)

    together, size, _ = criterion(student, batch(task, indices, "train"))
    alone = [criterion(student, batch(task, [index], "train"))[:2] for index in indices]

    assert_close(together, sum(loss for loss, _ in alone), rtol=1e-5, atol=1e-4)
    assert size == sum(part for _, part in alone)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 5])
def test_the_size_of_a_chunk_changes_nothing(text, lm_teacher, chunk):
    found = []
    for size in (chunk, 1000):
        task, student, criterion = pretraining(
            text, lm_teacher, "kd", hard_weight=0.3, soft_weight=0.7, task={"vocabulary_chunk": size}
        )
        loss, _, _ = criterion(student, batch(task, range(6), "train"))
        parameters = [p for p in student.parameters() if p.requires_grad]
        found.append((loss, torch.autograd.grad(loss, parameters)))

    (loss, gradients), (whole, expected) = found
    assert_close(loss, whole)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_perplexity_can_choose_the_checkpoint_where_words_are_learned(text, lm_teacher):
    logged_by = {
        weight: pretraining(text, lm_teacher, "att_kl_learn", hard_weight=weight)[2].metric_names()
        for weight in (0.0, 1.0)
    }
    assert "ppl" in logged_by[1.0]
    assert "ppl" not in logged_by[0.0]


def test_token_and_sentence_terms_add_up_by_hand(text, lm_teacher):
    task, student, criterion = pretraining(
        text, lm_teacher, "att_kl_learn", hard_weight=0.0, soft_weight=0.7, inter_weight=2.0
    )
    sample = batch(task, range(5), "train")
    loss, size, _ = criterion(student, sample)

    given = sample["net_input"]
    wanted = criterion.student_wanted | criterion.teacher_wanted
    s = student(**given, wanted=criterion.student_wanted)
    t = task.teacher.signals(sample, wanted)
    words = kd(s.lm_head(s.masked), t.lm_head(t.masked), 2.0).sum()
    attention = sum(
        attention_kl(s.attention[i], t.attention[j], s.mask).sum() for i, j in criterion.attention.pairs
    )
    assert size == sample["nmasked"] == len(sample["masked_words"])
    assert_close(loss, 0.7 * words + 2.0 * (0.15 * TOKENS) * attention)


def test_without_words_the_loss_is_a_mean_over_blocks(text, lm_teacher):
    task, student, criterion = pretraining(text, lm_teacher, "att_kl_learn")
    sample = batch(task, range(5), "train")
    loss, size, logged_here = criterion(student, sample)

    assert size == 5
    assert_close(loss.detach(), logged_here["term_attention"])
    assert not criterion.student_wanted.logits
    assert not student.encoder.lm_head.dense.weight.requires_grad
