"""The student's own past as its teacher."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional

import torch
from torch import Tensor, nn

from ..signals import Signals, Wanted

FORMS = ["average", "voted", "ema"]
ALL = "all"
DECAY = 0.995


class AveragedTeacher(nn.Module):
    """Remembers the student's last parameter sets theta_{t-1}, theta_{t-2}, .. and answers for them.

        average  one model of parameters (1/K) sum_{k=1..K} theta_{t-k}; of window "all", the mean of all so far
        voted    K models, whose logits are averaged
        ema      one model; each theta_g = 1, 2, .. after the first moves it by
                 theta_bar <- d theta_bar + (1 - d) theta_g, d = min(decay, (1 + g) / (10 + g))

    Whoever trains the student pushes its parameters just before each update, so that the newest of them
    are not its own. Until K were pushed, those that there are make the mean.

    What is remembered is float32 (or float64, where that is pushed), on the parameters' device or, with
    `host`, in host memory; it is no buffer, so that `.half()` or a distributed wrapper leaves it alone,
    but part of the state dict, from which it is restored exactly.

    window  how many sets: K, or "all" (0 means the same); ema has no window
    decay   of ema

    Paper: Xu et al., Improving BERT Fine-Tuning via Self-Ensemble and Self-Distillation, arXiv 2002.10345.
    Differs from a public implementation, whose average shrinks towards zero once the window is full.
    """

    def __init__(
        self, window: int | str = ALL, form: str = "average", decay: float = DECAY, host: bool = False
    ) -> None:
        super().__init__()
        self.window = ALL if window in (ALL, 0) or form == "ema" else window
        self.form = form
        self.decay = decay
        self.host = host
        self.pushed = 0
        self.past: dict[str, Tensor] = {}  # by name, [sets, ...]
        self._device: torch.device | None = None  # where it answers; None: where the past is
        self._student: tuple[nn.Module, Optional[str]] | None = None
        self._model: tuple[nn.Module, ...] = ()  # in tuples, these are no modules of ours
        self._answers_for = 0

        if form not in FORMS:
            raise ValueError(f"form {form!r} is not known: use {', '.join(FORMS)}.")
        if form == "ema" and window not in (ALL, 0):
            raise ValueError(f"window {window!r} is of no use to form 'ema', which has none: leave it out.")
        if self.window != ALL and (not isinstance(window, int) or window < 0):
            raise ValueError(f"window {window!r} is no number of parameter sets: use 1 or more, or {ALL!r}.")
        if self.window == ALL and (form == "voted" or host):
            what = (
                "form 'voted' runs every set of its window"
                if form == "voted"
                else "host keeps a window there"
            )
            raise ValueError(f"{what}, and {ALL!r} has none: give a number, such as 3.")

    @property
    def sets(self) -> int:
        """Parameter sets that are kept at most; the mean of all is one."""
        return 1 if self.window == ALL else self.window

    @property
    def kept(self) -> int:
        """Parameter sets that are kept now."""
        return min(self.pushed, self.sets)

    @torch.no_grad()
    def push(self, parameters: Mapping[str, Tensor] | Iterable[Tensor]) -> None:
        """Remembers the student's parameters, by name or in an order that is always the same.

        Raises ValueError when they are not those of before.
        """
        if not isinstance(parameters, Mapping):
            parameters = {str(number): value for number, value in enumerate(parameters)}
        if not self.past:
            self.past = {name: self._room(value) for name, value in parameters.items()}
        if parameters.keys() != self.past.keys():
            raise ValueError(
                f"{len(parameters)} parameters are pushed, and not the {len(self.past)} of before."
            )

        values = [parameters[name].detach() for name in self.past]
        self._place(values[0].device)
        values = [value.to(past.dtype) for value, past in zip(values, self.past.values(), strict=True)]
        places = [past[self.pushed % self.sets] for past in self.past.values()]
        if self.window != ALL or self.pushed == 0:
            torch._foreach_copy_(places, values, non_blocking=self.host)
        else:
            torch._foreach_lerp_(places, values, self._share_of_new())
        self.pushed += 1

    def _share_of_new(self) -> float:
        count = self.pushed
        if self.form == "ema":
            return 1.0 - min(self.decay, (1 + count) / (10 + count))
        return 1.0 / (count + 1)

    def average(self) -> dict[str, Tensor]:
        """The mean of what is kept, by name; of ema, the exponential one. Nothing before the first push."""
        return {name: self._near(past[: self.kept]).mean(dim=0) for name, past in self.past.items()}

    def members(self) -> Iterator[dict[str, Tensor]]:
        """The parameter sets that are kept, one after the other."""
        for number in range(self.kept):
            yield {name: self._near(past[number]) for name, past in self.past.items()}

    def follow(self, student: nn.Module, head: Optional[str]) -> None:
        """Says whose parameters will be pushed, by name; head: its classification head that gives the logits."""
        self._student = student, head

    @torch.no_grad()
    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """What this teacher says of a batch, in the student's precision; of form voted, logits alone.

        sample  a collated batch; of it `net_input`: what the student is called with
        """
        model, head = self._in_place()
        if self.form != "voted":
            if self._answers_for != self.pushed:
                _load(model, self.average())
            self._answers_for = self.pushed
            return model(**sample["net_input"], wanted=wanted, classification_head_name=head)

        logits = 0.0
        for member in self.members():
            _load(model, member)
            signals = model(**sample["net_input"], wanted=wanted, classification_head_name=head)
            logits = logits + signals.logits / self.kept
        return Signals(signals.mask, logits=logits)

    def _in_place(self) -> tuple[nn.Module, Optional[str]]:
        """A copy of the student that is never trained, and its head."""
        student, head = self._student
        if not self._model:
            self._model = (copy.deepcopy(student).requires_grad_(False).eval(),)
        self._place(next(student.parameters()).device)
        return self._model[0], head

    def map_row(self) -> str:
        """Who teaches, for whoever starts the training."""
        if self.form == "ema":
            return f"logits <- ema of all parameters so far, decay {self.decay:g}"
        past = {1: "the parameters of one update ago", ALL: "all parameters so far"}.get(
            self.window, f"the last {self.window} sets of parameters"
        )
        return f"logits <- {self.form}, {past}"

    def _room(self, value: Tensor) -> Tensor:
        dtype = torch.promote_types(value.dtype, torch.float32)
        if not self.host:
            return torch.empty(self.sets, *value.shape, dtype=dtype, device=value.device)
        return torch.empty(self.sets, *value.shape, dtype=dtype, pin_memory=torch.cuda.is_available())

    def _place(self, device: torch.device) -> None:
        """Brings what was restored from a checkpoint, or belongs to a student that moved, to its device."""
        self._device = device
        if not self.host and self.past and next(iter(self.past.values())).device != device:
            self.past = {name: past.to(device) for name, past in self.past.items()}

    def _near(self, value: Tensor) -> Tensor:
        return value if self._device is None else value.to(self._device, non_blocking=self.host)

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        if self.host and torch.cuda.is_available():
            torch.cuda.synchronize()  # copies to host memory may be on their way
        destination[prefix + "pushed"] = torch.tensor(self.pushed)
        for name, past in self.past.items():
            destination[f"{prefix}past.{name}"] = past[: self.kept]

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        if prefix + "pushed" not in state_dict:
            missing_keys.append(prefix + "pushed")
            return
        self.pushed, self.past, self._answers_for = int(state_dict[prefix + "pushed"]), {}, 0
        begin = prefix + "past."
        for key, saved in state_dict.items():
            if not key.startswith(begin):
                continue
            if len(saved) != self.kept:
                error_msgs.append(
                    f"{key} holds {len(saved)} parameter sets, a window of {self.window} {self.kept}"
                )
                continue
            room = self._room(saved[0])
            room[: self.kept] = saved
            self.past[key.removeprefix(begin)] = room


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    names, parameters = zip(*model.named_parameters(), strict=True)
    torch._foreach_copy_(parameters, [weights[name] for name in names])
