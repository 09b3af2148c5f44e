"""A frozen checkpoint that answers batch by batch."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Optional

import torch
from torch import Tensor

from ..errors import CannotStart
from ..losses import compress
from ..models.checkpoint import Checkpoint
from ..models.encoder import SEPARATOR
from ..models.roberta_student import RobertaStudent
from ..precisions import PRECISIONS
from ..signals import Signals, Wanted

NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "pooler_dropout": 0.0}


class LiveTeacher:
    """Runs the teacher beside the student.

    Not a module: it is never in an optimizer, a checkpoint or a distributed wrapper. Always in
    eval mode, never differentiated.

    checkpoint  the teacher's weights and shape
    dictionary  the data's vocabulary
    head        the classification head that gives the logits; None for the masked-LM head
    device      where it runs; None follows the batch
    precision   of its weights and signals: fp32, bf16 or fp16
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dictionary,
        head: Optional[str],
        device: Optional[str] = None,
        precision: str = "fp32",
    ) -> None:
        self.shape = checkpoint.shape
        self.head = head if head is not None and checkpoint.head(head) else None
        self.device = None if device is None else _device(device)
        self.placed_on: Optional[torch.device] = None

        lm_head = head is None and checkpoint.has_lm_head
        model = frozen_model(checkpoint, dictionary, self.head, "--teacher", lm_head)
        self.model = model.to(PRECISIONS[precision])

    @torch.no_grad()
    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """The teacher's signals for a batch, on the batch's device.

        sample  a collated batch; of it `net_input`: what the student is called with
        """
        given = sample["net_input"]
        device = given["src_tokens"].device
        if self.device is not None:
            given = {name: _moved(value, self.device) for name, value in given.items()}
        # The batch decides where the teacher runs; walking over all its weights each step would cost
        # a small student dearly.
        if self.placed_on != given["src_tokens"].device:
            self.placed_on = given["src_tokens"].device
            self.model.to(self.placed_on)

        # A student's autocast must not reach in here: the teacher has a precision of its own.
        with torch.autocast(given["src_tokens"].device.type, enabled=False):
            signals = self.model(**given, wanted=wanted.exposed(), classification_head_name=self.head)
            signals = select_signals(signals, wanted, given["src_tokens"])
        if signals.lm_head is not None:
            signals.lm_head = self._word_scores
        if self.device is None:
            return signals
        return Signals(**{name: _moved(value, device) for name, value in vars(signals).items()})

    @torch.no_grad()
    def _word_scores(self, states: Tensor) -> Tensor:
        """[n, H] -> [n, V], computed where the teacher is and brought to where the states are."""
        with torch.autocast(self.placed_on.type, enabled=False):
            return self.model.encoder.lm_head(states.to(self.placed_on)).to(states.device)


def select_signals(signals: Signals, wanted: Wanted, tokens: Tensor) -> Signals:
    """The signals that are wanted, made of those that the model exposed."""
    separators = tokens.eq(SEPARATOR)
    for number, how in wanted.compressed:
        state, scores = signals.states[number], signals.attention.get(how.ranking)
        signals.compressed[number, how] = compress(state, signals.mask, how, scores, separators)
    signals.states = {
        number: state if number in wanted.states else state[:, :1]
        for number, state in signals.states.items()
        if number in wanted.states | wanted.first
    }
    signals.attention = {layer: signals.attention[layer] for layer in sorted(wanted.attention)}
    return signals


def frozen_model(
    checkpoint: Checkpoint, dictionary, head: Optional[str], flag: str, lm_head: bool = False
) -> RobertaStudent:
    """The checkpoint's model, never to be trained again.

    head     which of its classification heads it gets; None for none
    flag     what named the checkpoint, for errors
    lm_head  whether it gets its masked-LM head

    Raises CannotStart when weights are missing.
    """
    model = RobertaStudent(Namespace(**NO_DROPOUT), checkpoint.shape, dictionary, lm_head)
    if head is not None:
        model.register_classification_head(head, checkpoint.classes(head))

    needed = model.state_dict()
    missing = [name for name in needed if name not in checkpoint.weights]
    if missing:
        raise CannotStart(f"{flag} {checkpoint.path} has no {missing[0]}: take a complete checkpoint.")
    model.load_state_dict({name: checkpoint.weights[name] for name in needed})
    return model.requires_grad_(False).eval()


def _device(given: str) -> torch.device:
    """The device that `--teacher-device` names; CannotStart where there is no such device."""
    try:
        device = torch.device(given)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CannotStart(
            f"--teacher-device {given} cannot be used ({str(error).split(chr(10))[0][:120]}): give cpu, or a GPU that "
            "there is such as cuda:0."
        ) from None
    return device


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: each.to(device) for key, each in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value
