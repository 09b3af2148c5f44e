"""`torch.optim.AdamW(fused=True)` with parameter groups and saved fp32 master weights."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ..errors import CannotStart
from .groups import clipped_sets, learning_rate, make_groups

# Added to the norm when clipping, as torch and fairseq do: avoids a division by 0.
EPS = 1e-6


def _unwrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of torch's optimizers without its wrapper, which would import torch's compiler for seconds."""
    return getattr(method, "__wrapped__", method)


# Group values restored from a checkpoint. All others come from the current command line.
RESTORED = frozenset({"lr", "updates"})


class GroupedAdamW(torch.optim.AdamW):
    """AdamW in one fused pass over all weights, on CPU and CUDA.

    Weights of fewer than 32 bits get an fp32 *master*. `param_groups` holds the masters, and `step`
    updates them; the weights are rounded copies of them. Masters are part of the saved state.

    params         weights; those with their own options are marked by `groups.set_group`
    decay_vectors  False excludes biases and LayerNorms from weight decay, unless their set has its own
    are_masters    the params are the fp32 masters of fairseq's wrapper: save them too
    """

    # fairseq's MemoryEfficientFP16Optimizer reads these attributes. Without the second, it would replace
    # the restored state by the checkpoint's tensors.
    supports_memory_efficient_fp16 = True
    disable_mem_eff_fp16_loading_hack = True

    add_param_group = _unwrapped(torch.optim.Optimizer.add_param_group)

    def __init__(
        self,
        params: Iterable[Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        decay_vectors: bool = True,
        are_masters: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        groups = make_groups(params, defaults, decay_vectors)

        self.weights = [weight for group in groups for weight in group["params"]]
        for group in groups:
            group["params"] = [_master(weight) for weight in group["params"]]
        super().__init__(groups, **defaults, fused=True)

        self.masters = [master for group in self.param_groups for master in group["params"]]
        self.half_precision = [
            (weight, master)
            for weight, master in zip(self.weights, self.masters, strict=True)
            if weight is not master
        ]
        self.saves_masters = are_masters or bool(self.half_precision)
        # 16-bit gradients must be converted to fp32 before the division by the loss scale.
        self.supports_step_with_scale = bool(self.half_precision)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, scale: float | Tensor = 1.0) -> Any:
        """Make one update with the gradients divided by `scale`."""
        loss = None if closure is None else torch.enable_grad()(closure)()

        for weight, master in self.half_precision:
            master.grad = None if weight.grad is None else weight.grad.float()
        if torch.is_tensor(scale) or scale != 1.0:
            _multiply(_gradients(self.masters), 1.0 / scale)
        for limit, masters in clipped_sets(self.param_groups):
            gradients = _gradients(masters)
            _clip(gradients, _norm(_norms(gradients)), limit)

        scheduled = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = learning_rate(group)
        _unwrapped(torch.optim.AdamW.step)(self)
        for group, lr in zip(self.param_groups, scheduled, strict=True):
            group["lr"] = lr
            # The warm-up of a frozen group must not advance.
            group["updates"] += any(master.grad is not None for master in group["params"])

        self._round_masters()
        return loss

    def multiply_grads(self, c: float | Tensor) -> None:
        """Multiply the gradients of all weights by `c`."""
        _multiply(_gradients(self.weights), c)

    @torch.no_grad()
    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the norm of all gradients. If max_norm > 0, clip those of groups without their own clip norm.

        `step` clips each set that has its own clip norm, separately.
        """
        gradients = _gradients(self.weights)
        if not gradients:
            return self.weights[0].new_tensor(0.0, dtype=torch.float32)

        aggregate = aggregate_norm_fn or (lambda norm: norm)
        norms = _norms(gradients)
        total = aggregate(_norm(norms))
        if max_norm > 0:
            own = {
                id(p)
                for group in self.param_groups
                if group["clip_norm"] is not None
                for p in group["params"]
            }
            with_gradient = [m for w, m in zip(self.weights, self.masters, strict=True) if w.grad is not None]
            shared = [i for i, master in enumerate(with_gradient) if id(master) not in own]
            if shared:
                norm = aggregate(_norm([norms[i] for i in shared])) if own else total
                _clip([gradients[i] for i in shared], norm, max_norm)
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state, with each group's options and update count, and the masters if there are any."""
        state = _unwrapped(torch.optim.AdamW.state_dict)(self)
        if self.saves_masters:
            state["masters"] = [master.detach() for master in self.masters]
        return state

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state exactly: saved masters replace those built from rounded weights.

        As in fairseq, options of a group keep their current values; only those in `RESTORED` are restored.
        Raises CannotStart if the checkpoint's parameters were grouped differently.
        """
        self._check_groups(state_dict["param_groups"])
        given = [
            {name: value for name, value in group.items() if name not in RESTORED}
            for group in self.param_groups
        ]
        _unwrapped(torch.optim.AdamW.load_state_dict)(self, state_dict)
        for group, options in zip(self.param_groups, given, strict=True):
            group.update(options)

        for master, saved in zip(self.masters, state_dict.get("masters", self.masters), strict=True):
            master.copy_(saved)
        self._round_masters()

    def _check_groups(self, saved: list[dict[str, Any]]) -> None:
        before, now = (
            " and ".join(str(len(group["params"])) for group in groups)
            for groups in (saved, self.param_groups)
        )
        if before != now:
            raise CannotStart(
                f"the checkpoint's optimizer has groups of {before} parameters, but this run has groups of {now}: give "
                "the flags that make groups (--gate-..., --no-decay-norm-and-bias) as before, or --reset-optimizer."
            )

    def _round_masters(self) -> None:
        if self.half_precision:
            weights, masters = zip(*self.half_precision, strict=True)
            torch._foreach_copy_(weights, masters)
            for master in masters:
                master.grad = None


def _master(weight: Parameter) -> Parameter:
    """Return the weight if it has 32 bits or more, else a copy in fp32."""
    return weight if weight.element_size() >= 4 else Parameter(weight.detach().float())


def _gradients(weights: Iterable[Parameter]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def _norms(gradients: list[Tensor]) -> list[Tensor]:
    return torch._foreach_norm(gradients, 2, dtype=torch.float32) if gradients else []


def _norm(norms: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.tensor(0.0)


def _clip(gradients: list[Tensor], norm: Tensor, limit: float) -> None:
    _multiply(gradients, (limit / (norm + EPS)).clamp(max=1.0))


def _multiply(gradients: list[Tensor], c: float | Tensor) -> None:
    if not gradients:
        return
    if isinstance(c, Tensor):
        c = c.to(gradients[0].device).reshape(())
    torch._foreach_mul_(gradients, c)
