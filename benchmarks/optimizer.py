"""Compares the optimizer step of adamw_fused, fairseq's Adam and torch's foreach AdamW: milliseconds.

    python -m benchmarks.optimizer [--threads 1] [--device cuda]

Timed   one step with existing gradients
Inputs  the parameters of stock fairseq's 3 x 384 student: 22.7 M, of which 5.3 M are fairseq's second
        copies of each layer's matrices
Check   equal weights, gradients and settings; the weights after three steps must agree, or nothing is printed
Method  3 steps to warm up, then 5 rounds of 4 steps, with all optimizers in turn; median, 20th and 80th
        percentile of the rounds
Output  one row per optimizer in benchmarks/results.csv, with ratio = time / time of adamw_fused
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from fairseq.optim.adam import Adam as FairseqAdam
from torch import Tensor
from torch.nn import Parameter

from benchmarks.record import describe, record, synchronize
from fairseq_kd.optim.grouped_adamw import GroupedAdamW
from launcher.arguments import Parser

# eps is tiny, because fairseq adds it before the bias correction and torch after. With a larger eps,
# results would differ for small gradients.
SETTINGS: dict[str, Any] = {"lr": 5e-5, "betas": (0.9, 0.999), "eps": 1e-15, "weight_decay": 0.01}
OURS = "adamw_fused"
VARIANTS: dict[str, Callable[[list[Parameter]], torch.optim.Optimizer]] = {
    OURS: lambda parameters: GroupedAdamW(parameters, **SETTINGS),
    "fairseq adam": lambda parameters: FairseqAdam(parameters, **SETTINGS),
    "torch adamw foreach": lambda parameters: torch.optim.AdamW(parameters, **SETTINGS, foreach=True),
}

WARM_UP, ROUNDS, STEPS = 3, 5, 4


def student_shapes(
    vocabulary: int = 30522,
    positions: int = 514,
    layers: int = 3,
    width: int = 384,
    ffn: int = 1536,
    classes: int = 2,
) -> list[tuple[int, ...]]:
    """Return the shapes of stock fairseq's parameters, second copies included."""
    matrices = [*[(width, width), (width,)] * 4, (ffn, width), (ffn,), (width, ffn), (width,)]
    copies = [(3 * width, width), (3 * width,), (width, width), (width,), *matrices[8:]]
    norms = [(width,)] * 4
    embeddings = [(vocabulary, width), (positions, width), (width,), (width,)]
    head = [(width, width), (width,), (classes, width), (classes,)]
    return embeddings + layers * (matrices + norms + copies) + head


def parameters(device: torch.device) -> list[Parameter]:
    """Return the student's parameters with gradients, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for shape in student_shapes():
        parameter = Parameter(0.02 * torch.randn(shape, generator=generator).to(device))
        parameter.grad = 1e-3 * torch.randn(shape, generator=generator).to(device)
        made.append(parameter)
    return made


def milliseconds(optimizer: torch.optim.Optimizer) -> float:
    """Return the milliseconds per step, averaged over one round."""
    synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.step()
    synchronize()
    return 1000 * (time.perf_counter() - start) / STEPS


def check_equal(weights: dict[str, list[Parameter]]) -> None:
    """Exit if an optimizer has other results than ours."""
    for name, found in weights.items():
        for ours, theirs in zip(weights[OURS], found, strict=True):
            if not torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6):
                raise SystemExit(f"{name} has other results than {OURS}: nothing to compare.")


def main() -> None:
    """Run the benchmark."""
    parser = Parser(__doc__)
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device

    weights = {name: parameters(device) for name in VARIANTS}
    optimizers = {name: make(weights[name]) for name, make in VARIANTS.items()}
    for optimizer in optimizers.values():
        for _ in range(WARM_UP):
            optimizer.step()
    check_equal(weights)

    rounds: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(ROUNDS):
        for name, optimizer in optimizers.items():
            rounds[name].append(milliseconds(optimizer))

    count = sum(parameter.numel() for parameter in weights[OURS])
    print(f"{count / 1e6:.1f} M parameters, {describe(device)}")
    ours = _quantile(rounds[OURS], 0.5)
    for name, values in rounds.items():
        median, low, high = (_quantile(values, q) for q in (0.5, 0.2, 0.8))
        print(f"{name:20} {median:8.1f} ms ({low:.1f} .. {high:.1f})  {median / ours:6.2f} x ours")
        record("optimizer step", name, median, "ms", median / ours, device)


def _quantile(values: list[float], q: float) -> float:
    return Tensor(values).quantile(q).item()


if __name__ == "__main__":
    main()
