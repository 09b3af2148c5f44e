"""Batches that fill up a worker's turn, of whatever split they are, log what batches of the training set log."""

import pytest

from tests.tiny import SHAPE, batch, build, write_data, write_teacher


class Optimizer:
    def backward(self, loss) -> None:
        loss.backward()


@pytest.mark.slow
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("unlabelled", ["train", "valid", None])
def test_a_filler_of_another_split_logs_the_same(tmp_path, regression, unlabelled):
    data = write_data(tmp_path / "data", regression=regression)
    for file in (data / "label").glob(f"{unlabelled}.*"):
        file.unlink()
    teacher = write_teacher(tmp_path / "teacher.pt", SHAPE, classes=1 if regression else 2)
    task, student, criterion = build(data, teacher, "kd", hard_weight=0.0, soft_weight=1.0)
    samples = {split: batch(task, [0, 1, 2], split) for split in ("train", "valid")}
    logged = [
        task.train_step(sample, student, criterion, Optimizer(), 0, ignore_grad=split != "train")[2]
        for split, sample in samples.items()
    ]
    assert list(logged[0]) == list(logged[1])
    assert [getattr(value, "shape", ()) for value in logged[0].values()] == [
        getattr(value, "shape", ()) for value in logged[1].values()
    ]
    assert not any(getattr(value, "any", lambda value=value: value != 0)() for value in logged[1].values())
    assert ("confusion" in logged[0] or "moments" in logged[0]) == (unlabelled != "train")
