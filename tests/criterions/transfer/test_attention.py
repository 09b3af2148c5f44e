"""Attention scores, whole or as the queries and keys that they are products of."""

import torch
from torch.testing import assert_close

from fairseq_kd.losses import attention_kl
from fairseq_kd.signals import Wanted
from tests.criterions.factory import criterion_of
from tests.tiny import batch, build


def test_scores_and_their_factors_have_the_same_loss_and_gradients(data, teacher):
    task, student, criterion = build(data, teacher, "att_kl_learn", hard_weight=0.0, soft_weight=0.0)
    sample, found = batch(task, [0, 3, 11]), []
    for compute in (criterion.attention.scores, criterion.attention.score_factors):
        s = student(**sample["net_input"], wanted=criterion.student_wanted)
        each = compute(s, task.teacher.signals(sample, criterion.teacher_wanted), attention_kl)
        weights = [p for p in student.parameters() if p.requires_grad]
        found.append((each, torch.autograd.grad(each.sum(), weights)))
    assert len(s.attention_factors) == 2
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_only_the_mapped_layers_are_wanted():
    criterion = criterion_of("att_kl_learn --hard-weight 0 --soft-weight 0 --mapping 0:0,2:3")
    assert criterion.student_wanted == Wanted.of(attention=[2])
    assert criterion.teacher_wanted == Wanted.of(attention=[3])
