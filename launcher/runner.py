"""Many runs: as many at once as there are slots, each after the one it depends on."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from .spec import RunSpec
from .train import Outcome

Train = Callable[[RunSpec, str | None], Outcome]
Report = Callable[[RunSpec, Outcome], None]


def run_all(
    runs: Sequence[RunSpec],
    train: Train,
    report: Report,
    slots: Sequence[str | None],
    stop: Callable[[], None],
) -> None:
    """Trains all runs; a failure stops only what starts from the failed run.

    train   trains one run in a slot
    report  is told as each ends
    slots   GPU numbers, or None for the CPU: one run at a time in each
    stop    ends the programs that run, on KeyboardInterrupt
    """

    def guarded(spec: RunSpec, slot: str | None) -> Outcome:
        try:
            return train(spec, slot)
        except OSError as error:  # a full disk, a folder that may not be written
            return Outcome(None, f"{type(error).__name__}: {error}")

    waiting, free = list(runs), list(slots)
    running: dict[Future[Outcome], tuple[RunSpec, str | None]] = {}
    finished: dict[str, bool] = {}

    def end(spec: RunSpec, outcome: Outcome) -> None:
        finished[spec.name] = outcome.result is not None
        report(spec, outcome)

    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while waiting or running:
                spec = next((spec for spec in waiting if not spec.after or spec.after in finished), None)
                if spec is not None and not finished.get(spec.after, True):
                    waiting.remove(spec)
                    end(spec, Outcome(None, f"not started because its first stage failed: {spec.after}"))
                elif spec is not None and free:
                    waiting.remove(spec)
                    slot = free.pop(0)
                    running[pool.submit(guarded, spec, slot)] = spec, slot
                else:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        spec, slot = running.pop(future)
                        free.append(slot)
                        end(spec, future.result())
        except KeyboardInterrupt:
            stop()
            raise


def visible_gpus() -> list[str]:
    """Numbers of the GPUs there are, or those CUDA_VISIBLE_DEVICES leaves; asked of the driver, not of torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [number for number in allowed.split(",") if number.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    gpus = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(gpus))] if listing.returncode == 0 else []
