"""What is said of where the teacher computes."""

import pytest
import torch

from fairseq_kd.tasks import teacher_place
from tests.tiny import build

WIDER = "the teacher computes in fp32 beside a student that computes in 16 bits"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"bf16": True}, True),
        ({"autocast": "bf16"}, True),
        ({"fp16": True}, True),
        ({}, False),
        ({"bf16": True, "teacher_precision": "bf16"}, False),
        ({"bf16": True, "teacher_device": "cpu"}, False),
        ({"autocast": "bf16", "cpu": True}, False),
    ],
)
def test_a_wider_teacher_on_a_gpu_is_told(data, teacher, caplog, monkeypatch, task, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    build(data, teacher, "kd", task={"cpu": False, **task})
    assert (WIDER in caplog.text) == said


def test_nothing_is_said_of_a_teacher_whom_nobody_asks(data, teacher, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    build(data, teacher, "kd", task={"cpu": False, "bf16": True}, soft_weight=0.0)
    assert WIDER not in caplog.text


@pytest.mark.parametrize(
    ("device", "workers", "said"),
    [("cuda:1", 2, True), ("cuda:1", 1, False), ("cuda", 2, False), (None, 2, False)],
)
def test_one_gpu_for_the_teachers_of_several_workers_is_told(
    data, teacher, caplog, monkeypatch, device, workers, said
):
    monkeypatch.setattr(teacher_place, "local_world_size", lambda: workers)
    monkeypatch.setattr("fairseq_kd.teachers.live._device", torch.device)
    build(data, teacher, "kd", task={"teacher_device": device})
    told = f"--teacher-device cuda:1 is one GPU for the teachers of all {workers} workers of this machine"
    assert (told in caplog.text) == said
