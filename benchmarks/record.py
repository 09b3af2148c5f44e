"""Writes measurements to benchmarks/results.csv, one row per variant."""

import csv
import os
import platform
import subprocess
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = ["benchmark", "variant", "value", "unit", "ratio", "device", "torch", "commit", "date"]


def record(benchmark: str, variant: str, value: float, unit: str, ratio: float, device: torch.device) -> None:
    """Append one row. ratio: value of the variant / value of ours."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        row = [benchmark, variant, f"{value:.4g}", unit, f"{ratio:.2f}", describe(device)]
        writer.writerow([*row, torch.__version__, _commit(), date.today().isoformat()])


def describe(device: torch.device) -> str:
    """Return the model of the GPU or processor, with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    huge_pages = ", huge pages" if "hugetlb=1" in os.environ.get("GLIBC_TUNABLES", "") else ""
    return f"{_processor()}, threads: {torch.get_num_threads()}{huge_pages}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit() -> str:
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() or "unknown"
