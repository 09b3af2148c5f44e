"""What the criterion adds to the loss: numbers of sentences, labels, validation, filler batches."""

import torch
from torch.testing import assert_close

from tests.tiny import SHAPE, batch, build, write_data

ALONE = {"hard_weight": 0.0, "soft_weight": 0.0}


def banks(criterion) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in criterion.crd.loss.buffers()]


def test_it_has_the_size_of_the_models_and_of_the_training_set(data, teacher):
    task, student, criterion = build(data, teacher, "crd", crd_feature_dim=12)
    loss = criterion.crd.loss

    assert "train" not in task.datasets
    assert loss.student_bank.shape == loss.teacher_bank.shape == (64, 12)
    assert loss.student_projection.weight.shape == (12, 3 * SHAPE.width)
    assert loss.teacher_projection.weight.shape == (12, 5 * SHAPE.width)


def test_it_compares_all_states_at_position_0(data, teacher):
    task, student, criterion = build(data, teacher, "crd", **ALONE)
    sample = batch(task, [3, 1, 2], "train")
    seen = []
    criterion.crd.loss.register_forward_pre_hook(lambda _, given: seen.extend(given))
    criterion(student, sample)

    s, t, index, negatives = seen
    student_signals = student(**sample["net_input"], wanted=criterion.student_wanted)
    teacher_signals = task.teacher.signals(sample, criterion.teacher_wanted)
    assert_close(s, torch.cat([student_signals.states[k][:, 0] for k in range(3)], dim=1))
    assert_close(t, torch.cat([teacher_signals.states[k][:, 0] for k in range(5)], dim=1))
    assert index.tolist() == [3, 1, 2]
    labels = task.dataset("train").targets
    assert (labels[negatives] != sample["target"][:, None]).all()


def test_training_remembers_its_sentences_alone(data, teacher):
    task, student, criterion = build(data, teacher, "crd")
    before, *_ = banks(criterion)
    criterion(student, batch(task, [5, 9], "train"))
    after, *_ = banks(criterion)
    assert (before != after).any(dim=1).nonzero().flatten().tolist() == [5, 9]


def test_validation_remembers_nothing(data, teacher):
    task, student, criterion = build(data, teacher, "crd")
    criterion(student, batch(task, range(8), "train"))
    before = banks(criterion)
    student.eval(), criterion.eval()

    first, again = (criterion(student, batch(task, [0, 3, 11, 39])) for _ in range(2))
    assert first[2]["term_crd"] > 0
    assert torch.equal(first[0], again[0])
    for found, expected in zip(banks(criterion), before, strict=True):
        assert torch.equal(found, expected)


def test_a_filler_batch_is_not_remembered(tmp_path, teacher):
    data = write_data(tmp_path / "data", sentences=[("train", 16), ("valid", 40)])
    task, student, criterion = build(data, teacher, "crd", **ALONE)
    before = banks(criterion)
    task.load_dataset("train")
    sample = batch(task, [2, 39])  # there is no training sentence 39

    class Optimizer:
        def backward(self, loss):
            loss.backward()

    loss, _, _ = task.train_step(sample, student, criterion, Optimizer(), 0, ignore_grad=True)

    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in criterion.parameters())
    for found, expected in zip(banks(criterion), before, strict=True):
        assert torch.equal(found, expected)
