"""Shared by the benchmarks: options, and rows of benchmarks/results.csv, one per variant."""

import argparse
import csv
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = ["benchmark", "variant", "value", "unit", "ratio", "device", "torch", "commit", "date"]


def record(
    benchmark: str,
    variant: str,
    value: float,
    unit: str,
    ratio: float,
    device: torch.device,
    file: Path | None = None,
) -> None:
    """Append one row to a file (None: results.csv). ratio: value of the variant / value of ours."""
    path = file or RESULTS
    new = not path.exists()
    with path.open("a", newline="") as rows:
        writer = csv.writer(rows, lineterminator="\n")
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


def add_numbers(parser: argparse.ArgumentParser, numbers: Mapping[str, tuple[int, str]]) -> None:
    """Add options that take a number: name -> default, description."""
    for name, (default, text) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default: {default})")


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    head = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    return head.stdout.strip() or "unknown"
