"""Warnings about the device and precision of the teacher."""

import pytest
import torch

from fairseq_kd.tasks import teacher_device
from tests.tiny import build

SLOW = "the teacher computes in fp32 and the student in 16 bits"


@pytest.mark.parametrize(
    ("task", "warned"),
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
def test_fp32_teacher_of_a_16_bit_student_on_a_gpu(data, teacher, caplog, monkeypatch, task, warned):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    build(data, teacher, "kd", task={"cpu": False, **task})
    assert (SLOW in caplog.text) == warned


def test_no_warning_about_a_teacher_that_is_not_used(data, teacher, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    build(data, teacher, "kd", task={"cpu": False, "bf16": True}, soft_weight=0.0)
    assert SLOW not in caplog.text


@pytest.mark.parametrize(
    ("device", "workers", "warned"),
    [("cuda:1", 2, True), ("cuda:1", 1, False), ("cuda", 2, False), (None, 2, False)],
)
def test_one_gpu_for_the_teachers_of_several_workers(
    data, teacher, caplog, monkeypatch, device, workers, warned
):
    monkeypatch.setattr(teacher_device, "local_world_size", lambda: workers)
    monkeypatch.setattr("fairseq_kd.teachers.live._device", torch.device)
    build(data, teacher, "kd", task={"teacher_device": device})
    warning = f"--teacher-device cuda:1: the teachers of all {workers} workers of this machine share one GPU"
    assert (warning in caplog.text) == warned
