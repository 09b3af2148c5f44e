import json
import platform
import sys
from importlib import metadata

import pytest

from launcher.execution import provenance
from launcher.execution.slots import Slot

TORCH = (
    "import os\n\nclass cuda:\n    get_device_name = lambda: f'GPU {os.environ[\"CUDA_VISIBLE_DEVICES\"]}'\n"
)


@pytest.mark.parametrize(
    ("torch", "slot", "gpu"),
    [(TORCH, Slot(gpu="3"), "GPU 3"), (TORCH, Slot(), None), ("raise ImportError", Slot(gpu="0"), None)],
)
def test_a_run_records_its_versions_and_the_device_of_its_slot(tmp_path, monkeypatch, torch, slot, gpu):
    (tmp_path / "torch.py").write_text(torch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = provenance.provenance(sys.executable, slot, slots=2)
    versions, machine = found["versions"], found["machine"]
    assert (versions["python"], versions["numpy"]) == (platform.python_version(), metadata.version("numpy"))
    assert (machine["gpu"], machine["slots"], machine["cpu"]) == (gpu, 2, provenance.cpu_model())
    assert json.loads(json.dumps(found)) == found


def test_a_python_that_fails_gives_no_versions():
    found = provenance.provenance("/no/such/python", Slot(), slots=1)
    assert (found["versions"], found["machine"]["gpu"]) == ({}, None)


def test_a_processor_has_its_model_name(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "CPUS", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert provenance.cpu_model() == "arm"
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A CPU @ 2.5GHz\nprocessor : 1\n")
    assert provenance.cpu_model() == "A CPU @ 2.5GHz"
