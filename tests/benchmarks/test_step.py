"""The benchmark of a step compares steps with equal losses."""

import csv
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import step, synthetic
from benchmarks.ours import Ours, Setting, write_teacher
from benchmarks.peers import EagerTransformers, StockFairseq, Transformers
from benchmarks.plain_losses import METHODS
from benchmarks.products import Products
from fairseq_kd.models import dropout, unpad
from fairseq_kd.models.checkpoint import read_checkpoint
from tests.processes import programs
from tests.tiny import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return synthetic.write_sentences(tmp_path_factory.mktemp("step") / "data", 12, 10)


def build(folder: Path, method: str) -> tuple[Ours, Path]:
    setting = Setting(folder, (2, 16), (1, 16), method, "fp32", torch.device("cpu"))
    teacher = write_teacher(folder.parent / f"{method}.pt", setting, 40)
    return Ours(setting, teacher), teacher


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_losses_of_other_libraries_are_ours_before_and_after_an_update(folder, method):
    ours, teacher = build(folder, method)
    batch = ours.batch(range(6), None)
    peers = [Transformers, EagerTransformers, *([StockFairseq] if StockFairseq.supports(method) else [])]
    for peer in peers:
        other = peer(ours, read_checkpoint(str(teacher), "--teacher"), padded_to=15)
        expected = float(ours.loss(batch))
        assert float(other.loss(batch)) == pytest.approx(expected, rel=step.TOLERANCE)
        other.step(batch)
        assert float(other.loss(batch)) != pytest.approx(expected, rel=1e-6)


def test_variants_without_their_package_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(step, "PACKAGES", {"stock fairseq": "no_such_package"})
    assert step.installed([step.OURS, "stock fairseq", step.PRODUCTS]) == [step.OURS, step.PRODUCTS]
    assert "Left out: stock fairseq. The package no_such_package is not installed." in capsys.readouterr().out


@pytest.mark.slow
def test_compiled_layers_train_as_others(folder, monkeypatch):
    """With the code of GPUs, which torch compiles as a whole."""
    packing = unpad.Packing.of
    monkeypatch.setattr(unpad.Packing, "of", lambda *args: replace(packing(*args), lengths=None))
    monkeypatch.setattr(dropout.Dropout, "forward", torch.nn.Dropout.forward)
    plain, compiled = (build(folder, "att_mse_hidden_mse")[0] for _ in range(2))
    compiled.compile_layers("eager")
    for rows in (range(6), range(6, 11)):
        losses = []
        for trained in (plain, compiled):
            torch.manual_seed(1)
            trained.step(trained.batch(rows, None))
            losses.append(float(trained.loss(trained.batch(range(6), None))))
        assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 1
    assert not torch._dynamo.utils.counters["graph_break"]


def run_gpu_script(out: Path, **settings: str) -> tuple[int, list[str]]:
    """Run benchmarks/gpu.sh with tiny models on the CPU; return its status and the result of each part."""
    settings |= {"DEVICE": "cpu", "SIZES": "tiny", "OUT": str(out), "PYTHON": str(programs() / "python")}
    done = subprocess.run(["bash", ROOT / "benchmarks" / "gpu.sh"], env=os.environ | settings)
    pattern = r"^(passed|failed with status \d+|not run: no time left), \d+ s$"
    return done.returncode, re.findall(pattern, (out / "results.md").read_text(), re.MULTILINE)


@pytest.mark.slow
def test_the_commands_for_a_gpu_run_on_the_cpu_and_report_a_part_that_fails(tmp_path):
    names = [step.OURS, step.CACHED, step.PRODUCTS]
    variants = "; ".join([*names, "transformers"])  # which cannot train the method
    found = run_gpu_script(tmp_path, METHODS="crd", VARIANTS=variants, PRECISIONS="fp32 fp17")
    assert found == (1, ["passed", "passed", "failed with status 2"])
    assert "| crd | ours | " in (tmp_path / "results.md").read_text()
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = [(f"crd, {name}", unit) for name in names for unit in ("sentences/s", "MiB")]
    assert [(row["variant"], row["unit"]) for row in rows] == expected
    assert all(float(row["value"]) > 0 for row in rows)


@pytest.mark.slow
def test_parts_without_time_left_are_not_run(tmp_path):
    assert run_gpu_script(tmp_path, SECONDS_IN_TOTAL="0") == (1, 3 * ["not run: no time left"])


def test_another_loss_stops_the_benchmark():
    step.check_equal("transformers", 1.0, 1.00009)
    step.check_equal(step.CACHED, 1.0, 1.0009)
    with pytest.raises(SystemExit, match=r"transformers has the loss 1\.001"):
        step.check_equal("transformers", 1.0, 1.001)


def test_products_are_those_of_the_real_tokens(folder, monkeypatch):
    """By hand, for 2 x 16 -> 1 x 16 and sentences of n tokens: 12 H^2 multiplications a token and layer, and 2 n^2 H."""
    ours, _ = build(folder, "kd")
    batch, multiplications = ours.batch(range(3), None), 0

    def counted(original):
        def multiply(a, b):
            nonlocal multiplications
            multiplications += a.numel() * b.size(-1)
            return original(a, b)

        return multiply

    products = Products(ours.setting, [batch])
    monkeypatch.setattr(torch, "mm", counted(torch.mm))
    monkeypatch.setattr(torch, "bmm", counted(torch.bmm))
    products.step(batch)
    lengths = batch["net_input"]["src_tokens"].ne(1).sum(dim=1).tolist()
    by_layer = sum(12 * 16 * 16 * n + 2 * n * n * 16 for n in lengths)
    assert multiplications == (2 + 3 * 1) * by_layer
