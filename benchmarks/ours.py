"""One training step of this package, through fairseq's trainer, for `benchmarks.step`."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from torch import Tensor

from benchmarks.synthetic import CLASSES
from fairseq_kd.models.checkpoint import DEFAULT_HEAD, Checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.teachers.live import NO_DROPOUT


@dataclass(frozen=True)
class Setting:
    """What is trained, the same for all ways of training.

    data     a <TASK>-bin folder
    teacher  (layers, width) of the teacher
    student  (layers, width) of the student, which begins with every k-th layer of the teacher
    method   name of the criterion
    autocast fp32 or bf16: precision of student and teacher
    """

    data: Path
    teacher: tuple[int, int]
    student: tuple[int, int]
    method: str
    autocast: str
    device: torch.device

    @property
    def init_layers(self) -> str:
        """The teacher's layers that the student copies, for --init-layers."""
        stride = self.teacher[0] // self.student[0]
        return ",".join(str(layer * stride + stride - 1) for layer in range(self.student[0]))

    def flags(self, teacher: Path) -> list[str]:
        """Return the arguments of fairseq-train."""
        given = f"{self.data} --task sentence_prediction_kd --teacher {teacher} --arch roberta_student --init-layers "
        given += f"{self.init_layers} --criterion {self.method} --optimizer adamw_fused --lr 1e-5 --seed 1"
        if self.autocast != "fp32":
            given += f" --autocast {self.autocast} --teacher-precision {self.autocast}"
        return [*given.split(), *(["--cpu"] if self.device.type == "cpu" else [])]


class Ours:
    """Task, student, criterion and trainer, as fairseq-train builds them.

    flags  more arguments of fairseq-train
    """

    def __init__(self, setting: Setting, teacher: Path, flags: Sequence[str] = ()) -> None:
        from fairseq.trainer import Trainer

        import fairseq_kd  # noqa: F401
        from fairseq_kd.tasks.build import build_parts, read_config

        self.setting = setting
        cfg = read_config([*setting.flags(teacher), *flags])
        self.task, self.student, self.criterion = build_parts(cfg)
        self.task.load_dataset("train")
        self.dataset = self.task.dataset("train")
        self.trainer = Trainer(cfg, self.task, self.student, self.criterion)
        self.trainer.begin_epoch(1)
        if getattr(self.criterion, "sda", None) is not None:
            # As after a first update: before it, there are no earlier parameters to average.
            self.criterion.sda.push(dict(self.student.named_parameters()))

    def batch(self, rows: Sequence[int], tokens: int | None) -> dict[str, Any]:
        """Return a batch of these training rows. tokens: extend each sentence to this length by repeating it."""
        examples = [self.dataset[row] for row in rows]
        if tokens is not None:
            for example in examples:
                words = example["tokens"]
                example["tokens"] = words.repeat(tokens // len(words) + 1)[:tokens]
        return self.dataset.collater(examples)

    def compile_layers(self, backend: str = "inductor") -> None:
        """Compile each layer of the student by torch.compile, at its first use."""
        # Training and evaluation of each layer, with fixed and with any sizes.
        torch._dynamo.config.recompile_limit = 4 * self.student.shape.layers
        for layer in self.student.encoder.sentence_encoder.layers:
            layer.compile(backend=backend)

    def student_checkpoint(self) -> Checkpoint:
        """Return the student's weights and shape."""
        weights = {name: weight.detach().clone() for name, weight in self.student.state_dict().items()}
        return Checkpoint(Path("student"), self.student.shape.config(), weights, self.student.shape, None)

    def step(self, batch: dict[str, Any]) -> None:
        """Make one update of the weights."""
        with metrics.aggregate():
            self.trainer.train_step([batch])

    @torch.no_grad()
    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the mean loss of the batch, without dropout."""
        self.trainer.model.eval()
        sample, _ = self.trainer._prepare_sample(batch)
        loss, size, _ = self.trainer.criterion.eval()(self.trainer.model, sample)
        self.trainer.model.train()
        self.trainer.criterion.train()
        return loss / size


def write_teacher(path: Path, setting: Setting, tokens: int) -> Path:
    """Write a checkpoint of a new teacher with the vocabulary of the data, for sentences of up to `tokens` tokens.

    A feed-forward block has 4 x width neurons.
    """
    layers, width = setting.teacher
    shape = ModelShape(layers, width, 4 * width, heads_of(width), max_positions=max(tokens, 40))
    dictionary = Dictionary.load(str(setting.data / "input0" / "dict.txt"))
    dictionary.add_symbol("<mask>")
    torch.manual_seed(1)
    model = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary)
    model.register_classification_head(DEFAULT_HEAD, CLASSES)
    config = {"_name": "roberta_student", **shape.config()}
    torch.save({"args": None, "cfg": {"model": config}, "model": model.state_dict()}, path)
    return path


def heads_of(width: int) -> int:
    """Return the number of heads of a model: a head has 64 dimensions, or 32 if the width is below 768."""
    return max(1, width // (64 if width >= 768 else 32))
