"""Random data and models for benchmarks have the given sizes, and the plugin reads them."""

from benchmarks import synthetic
from fairseq_kd.models.checkpoint import read_checkpoint
from tests.tiny import build


def test_task_reads_the_sentences_and_the_teacher(tmp_path):
    data = synthetic.write_sentences(tmp_path / "data", count=12, tokens=10)
    teacher = synthetic.write_teacher(tmp_path / "model.pt", layers=2, width=64, tokens=10)
    shape = read_checkpoint(str(teacher), "--teacher").shape
    assert (shape.layers, shape.width, shape.ffn, shape.heads) == (2, 64, 256, 2)

    task, _, criterion = build(data, teacher, "kd", layers="0", task={"num_classes": 2})
    task.load_dataset("train")
    sizes = [len(task.dataset("train")[number]["tokens"]) for number in range(12)]
    assert len(task.dataset("train")) == 12
    assert 5 < min(sizes) < max(sizes) <= 10
    assert criterion.teacher_wanted.logits
