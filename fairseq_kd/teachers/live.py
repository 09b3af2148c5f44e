"""A teacher that is run on each batch: a frozen checkpoint."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..errors import CannotStart
from ..losses import Compressed, compress
from ..models.checkpoint import Checkpoint
from ..models.encoder import SEPARATOR
from ..models.roberta_student import RobertaStudent
from ..models.torch_file import first_line
from ..precisions import PRECISIONS
from ..signals import Signals, Wanted

NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "pooler_dropout": 0.0}


class LiveTeacher:
    """Runs the teacher on each batch.

    It is not a module, so it is in no optimizer, checkpoint or distributed wrapper. The model is in eval mode and has no
    gradients.

    checkpoint  weights and shape of the teacher
    dictionary  vocabulary of the data
    head        classification head of the logits; None for the masked-LM head
    device      device of the teacher; None for that of the batch
    precision   of weights and signals: fp32, bf16 or fp16
    in_fp32     whether to compute in fp32 with the weights of `precision`, for a CPU where bf16 is slow
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dictionary: Dictionary,
        head: Optional[str],
        device: Optional[str] = None,
        precision: str = "fp32",
        in_fp32: bool = False,
    ) -> None:
        self.shape = checkpoint.shape
        self.head = head if head is not None and checkpoint.head(head) else None
        self.device = None if device is None else _device(device)
        self.placed_on: Optional[torch.device] = None

        lm_head = head is None and checkpoint.has_lm_head
        model = frozen_model(checkpoint, dictionary, self.head, "--teacher", lm_head)
        self.model = model.to(PRECISIONS[precision])
        if in_fp32:
            self.model = self.model.float()

    @torch.no_grad()
    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """Return the teacher's signals for a batch, on the batch's device.

        sample  a collated batch, with the student's arguments in `net_input`
        """
        given = sample["net_input"]
        device = given["src_tokens"].device
        if self.device is not None:
            given = {name: move(value, self.device) for name, value in given.items()}
        # Only if the device changes: `to` visits all weights, which takes noticeable time in each step.
        if self.placed_on != given["src_tokens"].device:
            self.placed_on = given["src_tokens"].device
            self.model.to(self.placed_on)

        # The student's autocast must not change the teacher's precision.
        with torch.autocast(given["src_tokens"].device.type, enabled=False):
            signals = self.model(**given, wanted=wanted.exposed(), classification_head_name=self.head)
            signals = select_signals(signals, wanted, given["src_tokens"])
        if signals.lm_head is not None:
            signals.lm_head = self._word_scores
        if self.device is None:
            return signals
        return Signals(**{name: move(value, device) for name, value in vars(signals).items()})

    @torch.no_grad()
    def _word_scores(self, states: Tensor) -> Tensor:
        """[n, H] -> [n, V], computed on the teacher's device, returned on that of the states."""
        with torch.autocast(self.placed_on.type, enabled=False):
            return self.model.encoder.lm_head(states.to(self.placed_on)).to(states.device)


def select_signals(signals: Signals, wanted: Wanted, tokens: Tensor) -> Signals:
    """Return the wanted signals, selected or compressed from those that the model exposed. tokens [B, T]"""
    separators = tokens.eq(SEPARATOR)
    for number, how in wanted.compressed:
        state = signals.states[number]
        scores = None if how.ranking is None else signals.attention[how.ranking]
        signals.compressed[number, how] = compress(state, signals.mask, how, scores, separators)
    states = {
        number: state if number in wanted.states else state[:, :1]
        for number, state in signals.states.items()
        if number in wanted.states | wanted.first
    }
    factors = {layer: signals.attention_factors[layer] for layer in sorted(wanted.attention)}
    return replace(signals, states=states, attention={}, attention_factors=factors)


def frozen_model(
    checkpoint: Checkpoint, dictionary: Dictionary, head: Optional[str], flag: str, lm_head: bool = False
) -> RobertaStudent:
    """Return the checkpoint's model in eval mode, without gradients.

    head     classification head to load; None for none
    flag     flag of the checkpoint, for error messages
    lm_head  whether to load the masked-LM head

    Raises CannotStart if weights are missing.
    """
    model = RobertaStudent(Namespace(**NO_DROPOUT), checkpoint.shape, dictionary, lm_head)
    if head is not None:
        model.register_classification_head(head, checkpoint.classes(head))

    needed = model.state_dict()
    missing = [name for name in needed if name not in checkpoint.weights]
    if missing:
        raise CannotStart(f"{flag} {checkpoint.path} has no {missing[0]}: use a complete checkpoint.")
    model.load_state_dict({name: checkpoint.weights[name] for name in needed})
    return model.requires_grad_(False).eval()


def _device(given: str) -> torch.device:
    """Return the device of `--teacher-device`. Raises CannotStart if it does not exist."""
    try:
        device = torch.device(given)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CannotStart(
            f"--teacher-device {given} cannot be used ({first_line(error)}): give cpu, or an existing GPU such as cuda:0."
        ) from None
    return device


def move(value: Any, device: torch.device) -> Any:
    """Return tensors on the device, also those in dictionaries, tuples and `Compressed`; any other value unchanged."""
    if isinstance(value, dict):
        return {key: move(each, device) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(move(each, device) for each in value)
    return value.to(device) if isinstance(value, Tensor | Compressed) else value
