"""The benchmark of the optimizer: its parameters, its check of equality, and its rows."""

import csv
import math

import pytest
import torch
from torch.nn import Parameter

from benchmarks import optimizer, record


def test_parameters_are_those_of_the_student():
    """Embeddings and their LayerNorm; three layers, whose matrices count twice; a head."""
    matrices = 4 * (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384
    by_hand = (30522 + 514 + 2) * 384 + 3 * (2 * matrices + 4 * 384) + (384 + 1) * 384 + (384 + 1) * 2
    assert sum(math.prod(shape) for shape in optimizer.student_shapes()) == by_hand == 22_709_378


def test_optimizer_with_other_results_stops_the_benchmark():
    same = [Parameter(torch.ones(2))]
    optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.ones(2))]})
    with pytest.raises(SystemExit, match="peer"):
        optimizer.check_equal({optimizer.OURS: same, "peer": [Parameter(torch.zeros(2))]})


def test_row_has_measurement_and_device(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results.csv")
    for value in (12.3456, 24.6912):
        record.record("step", "ours", value, "ms", value / 12.3456, torch.device("cpu"))
    with (tmp_path / "results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert list(first) == record.COLUMNS
    assert [first["value"], first["ratio"], second["ratio"]] == ["12.35", "1.00", "2.00"]
    assert "threads" in first["device"]
