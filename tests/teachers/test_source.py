"""Teachers that cannot be used on the data, or for the loss."""

import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from tests.tiny import build, write_data, write_teacher

RANDOM = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_attention_heads": 4, "encoder_ffn_embed_dim": 8,
          "max_positions": 40}  # fmt: skip


def test_logits_need_a_teacher_with_the_classes_of_the_data(data, tmp_path):
    with pytest.raises(CannotStart, match="--soft-weight above 0 .*: give --teacher"):
        build(data, None, "kd", layers="random", model=RANDOM)
    build(data, None, "kd", layers="random", model=RANDOM, soft_weight=0.0)
    for classes, found in ((3, "has 3 classes, but .* has 2"), (None, "has no classification head")):
        teacher = write_teacher(tmp_path / "model.pt", classes=classes)
        with pytest.raises(CannotStart, match=f"--teacher {teacher} {found}"):
            build(data, teacher, "kd")
        build(data, teacher, "kd", soft_weight=0.0)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_does_not_exist_is_refused(data, teacher, device):
    with pytest.raises(CannotStart, match=f"--teacher-device {device} cannot be used"):
        build(data, teacher, "kd", task={"teacher_device": device})


def test_examples_longer_than_the_teacher_takes_are_refused_if_it_is_used(data, tmp_path):
    short = ModelShape(layers=4, width=16, ffn=32, heads=4, max_positions=10)
    teacher = write_teacher(tmp_path / "model.pt", short)
    task, _, _ = build(data, teacher, "kd", layers="random", model=RANDOM)
    with pytest.raises(CannotStart, match=r"an example of \d+ tokens, but --teacher \S+ takes 10: make"):
        task.load_dataset("train")
    task, _, _ = build(data, teacher, "kd", layers="random", model=RANDOM, soft_weight=0.0)
    task.load_dataset("train")


def test_the_teacher_must_have_the_pair_format_of_the_data(tmp_path):
    data = write_data(tmp_path / "data", pair_format="bert")
    with pytest.raises(CannotStart, match="format bert, but the model needs roberta"):
        build(data, write_teacher(tmp_path / "model.pt"), "kd")
