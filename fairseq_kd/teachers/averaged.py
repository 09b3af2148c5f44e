"""A teacher that averages the student's earlier parameters (self-ensemble)."""

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
    """Stores the student's earlier parameter sets theta_{t-1}, theta_{t-2}, .. and computes signals from them.

        average  one model of parameters (1/K) sum_{k=1..K} theta_{t-k}; window "all": mean of all so far
        voted    K models, whose logits are averaged
        ema      one model; each theta_g, g = 1, 2, .., after the first updates it:
                 theta_bar <- d theta_bar + (1 - d) theta_g, d = min(decay, (1 + g) / (10 + g))

    The criterion pushes the student's parameters just before each update, so the current parameters are
    never included. Before K pushes, the mean is over the sets pushed so far.

    Sets are stored in float32, or in float64 if the parameters are. They are on the parameters' device or,
    with `host`, in host memory. They are not buffers, so `.half()` and distributed wrappers do not change
    them. They are part of the state dict, which restores them exactly.

    window  number of sets: K, or "all" (0 means the same); ema has no window
    decay   of ema
    host    store the sets in host memory

    Raises ValueError for an unknown form, for options that the form does not have, and for values out of range.

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
        self._device: torch.device | None = None  # of the computation; None: that of `past`
        self._student: tuple[nn.Module, Optional[str]] | None = None
        self._model: tuple[nn.Module, ...] = ()  # tuples, so that torch does not register submodules
        self._loaded = 0  # value of `pushed` for which `_model` has the average

        if form not in FORMS:
            raise ValueError(f"form {form} is unknown: use {', '.join(FORMS)}.")
        if form == "ema" and window not in (ALL, 0):
            raise ValueError(f"window {window} has no effect with form ema: remove it.")
        if form == "ema" and not 0 <= decay <= 1:
            raise ValueError(f"decay {decay} is out of range: give a number from 0 to 1.")
        if self.window != ALL and (not isinstance(window, int) or window < 0):
            raise ValueError(f"window {window} is not a number of parameter sets: give 1 or more, or {ALL}.")
        if self.window == ALL and form == "voted":
            raise ValueError(
                "form voted runs every model of its window, but the window has no limit: give a number."
            )
        if self.window == ALL and host:
            raise ValueError("host stores a window, but the window has no limit: give a number.")

    @property
    def sets(self) -> int:
        """Maximum number of stored sets; the mean of all counts as one."""
        return 1 if isinstance(self.window, str) else self.window

    @property
    def kept(self) -> int:
        """Current number of stored sets."""
        return min(self.pushed, self.sets)

    @torch.no_grad()
    def push(self, parameters: Mapping[str, Tensor] | Iterable[Tensor]) -> None:
        """Store the student's parameters, given by name or in a fixed order.

        Raises ValueError if their names or number differ from the first push.
        """
        if not isinstance(parameters, Mapping):
            parameters = {str(number): value for number, value in enumerate(parameters)}
        if not self.past:
            self.past = {name: self._allocate(value) for name, value in parameters.items()}
        if parameters.keys() != self.past.keys():
            raise ValueError(
                f"the {len(parameters)} pushed parameters differ from the {len(self.past)} of the first push."
            )

        values = [parameters[name].detach() for name in self.past]
        self._move_to(values[0].device)
        values = [value.to(past.dtype) for value, past in zip(values, self.past.values(), strict=True)]
        slots = [past[self.pushed % self.sets] for past in self.past.values()]
        if self.window != ALL or self.pushed == 0:
            torch._foreach_copy_(slots, values, non_blocking=self.host)
        else:
            torch._foreach_lerp_(slots, values, self._weight_of_new())
        self.pushed += 1

    def _weight_of_new(self) -> float:
        count = self.pushed
        if self.form == "ema":
            return 1.0 - min(self.decay, (1 + count) / (10 + count))
        return 1.0 / (count + 1)

    def average(self) -> dict[str, Tensor]:
        """Return name -> mean of the stored sets (ema: the exponential average); empty before the first push."""
        return {name: self._on_device(past[: self.kept]).mean(dim=0) for name, past in self.past.items()}

    def members(self) -> Iterator[dict[str, Tensor]]:
        """Yield each stored set as name -> parameter."""
        for number in range(self.kept):
            yield {name: self._on_device(past[number]) for name, past in self.past.items()}

    def set_student(self, student: nn.Module, head: Optional[str]) -> None:
        """Set the model whose parameters will be pushed by name, and the classification head of its logits."""
        self._student = student, head

    @torch.no_grad()
    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """Return the signals of a batch in the student's precision; form voted returns logits only.

        sample  a collated batch, with the student's arguments in `net_input`
        wanted  requested signals
        """
        model, head = self._model_and_head()
        if self.form != "voted":
            if self._loaded != self.pushed:
                _load(model, self.average())
            self._loaded = self.pushed
            return model(**sample["net_input"], wanted=wanted, classification_head_name=head)

        logits = 0.0
        for member in self.members():
            _load(model, member)
            signals = model(**sample["net_input"], wanted=wanted, classification_head_name=head)
            logits = logits + signals.logits / self.kept
        return Signals(signals.mask, logits=logits)

    def _model_and_head(self) -> tuple[nn.Module, Optional[str]]:
        """Return a copy of the student that is never trained, and its head."""
        student, head = self._student
        if not self._model:
            self._model = (copy.deepcopy(student).requires_grad_(False).eval(),)
        self._move_to(next(student.parameters()).device)
        return self._model[0], head

    def describe(self) -> str:
        """Return one line for the summary."""
        if self.form == "ema":
            return f"logits <- ema of all parameters so far, decay {self.decay:g}"
        past = {1: "the parameters of one update ago", ALL: "all parameters so far"}.get(
            self.window, f"the last {self.window} sets of parameters"
        )
        return f"logits <- {self.form}, {past}"

    def _allocate(self, value: Tensor) -> Tensor:
        dtype = torch.promote_types(value.dtype, torch.float32)
        if not self.host:
            return torch.empty(self.sets, *value.shape, dtype=dtype, device=value.device)
        return torch.empty(self.sets, *value.shape, dtype=dtype, pin_memory=torch.cuda.is_available())

    def _move_to(self, device: torch.device) -> None:
        """Move the sets to the student's device, after a restore or if the student moved."""
        self._device = device
        if not self.host and self.past and next(iter(self.past.values())).device != device:
            self.past = {name: past.to(device) for name, past in self.past.items()}

    def _on_device(self, value: Tensor) -> Tensor:
        return value if self._device is None else value.to(self._device, non_blocking=self.host)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.host and torch.cuda.is_available():
            torch.cuda.synchronize()  # copies to host memory may still be running
        destination[prefix + "pushed"] = torch.tensor(self.pushed)
        for name, past in self.past.items():
            destination[f"{prefix}past.{name}"] = past[: self.kept]

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if prefix + "pushed" not in state_dict:
            missing_keys.append(prefix + "pushed")
            return
        self.pushed, self.past, self._loaded = int(state_dict[prefix + "pushed"]), {}, 0
        begin = prefix + "past."
        for key, saved in state_dict.items():
            if not key.startswith(begin):
                continue
            if len(saved) != self.kept:
                error_msgs.append(
                    f"{key} has {len(saved)} parameter sets, but a window of {self.window} needs {self.kept}"
                )
                continue
            restored = self._allocate(saved[0])
            restored[: self.kept] = saved
            self.past[key.removeprefix(begin)] = restored


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    names, parameters = zip(*model.named_parameters(), strict=True)
    torch._foreach_copy_(parameters, [weights[name] for name in names])
