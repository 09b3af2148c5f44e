import json
import platform
import sys
from importlib import metadata

import pytest

from launcher.execution import environment_info
from launcher.execution.devices import Slot
from launcher.execution.environment_info import cpu_model


@pytest.fixture
def torch_on_gpus(tmp_path, monkeypatch):
    """A torch that knows a GPU by what CUDA_VISIBLE_DEVICES says."""
    name = "import os\n\nclass cuda:\n    get_device_name = lambda: f'GPU {os.environ[\"CUDA_VISIBLE_DEVICES\"]}'\n"
    (tmp_path / "torch.py").write_text(name)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_run_keeps_the_versions_and_the_machine_of_its_slot(torch_on_gpus):
    found = environment_info.environment_info(sys.executable, Slot(gpu="3"), slots=2)
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert (found["machine"]["gpu"], found["machine"]["slots"]) == ("GPU 3", 2)
    assert json.loads(json.dumps(found)) == found


def test_a_run_on_the_cpu_has_no_gpu(torch_on_gpus):
    machine = environment_info.environment_info(sys.executable, Slot(), slots=1)["machine"]
    assert (machine["gpu"], machine["cpu"]) == (None, cpu_model())


def test_a_python_without_torch_tells_the_rest(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = environment_info.environment_info(sys.executable, Slot(gpu="0"), slots=1)
    assert (found["machine"]["gpu"], found["versions"]["python"]) == (None, platform.python_version())


def test_a_python_that_fails_tells_nothing():
    found = environment_info.environment_info("/no/such/python", Slot(), slots=1)
    assert (found["versions"], found["machine"]["gpu"]) == ({}, None)


def test_a_processor_has_the_name_that_its_maker_gives_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_info, "CPUS", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu_model() == "arm"
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A CPU @ 2.5GHz\nprocessor : 1\n")
    assert cpu_model() == "A CPU @ 2.5GHz"
