import subprocess
import sys

import pytest
import torch

from fairseq_kd.memory import GIB, peak_memory


@pytest.mark.slow
def test_peak_memory_of_the_host_includes_freed_memory():
    before = peak_memory(torch.device("cpu"))
    size = int((before + 0.25) * GIB)
    block = torch.ones(size, dtype=torch.uint8)  # written to, so that the memory is resident
    del block
    after = peak_memory(torch.device("cpu"))

    assert before > 0.05  # torch alone
    assert size / GIB <= after < size / GIB + before + 0.5


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_freed_memory_is_used_again_without_new_pages():
    """64 MiB have 16,384 pages of 4 KiB; a page that is new to the process costs a fault.

    Other jobs may make the system take pages away, so the best of four allocations counts.
    """
    program = (
        "import resource, sys, torch\n"
        "from fairseq_kd.memory import keep_freed_memory\n"
        "kept = keep_freed_memory() if sys.argv[1] == 'keep' else False\n"
        "faults = []\n"
        "for _ in range(5):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    torch.zeros(1 << 24)\n"
        "    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
        "print(kept, min(faults[1:]))"
    )
    found = {}
    for how in ("keep", "default"):
        done = subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, text=True, check=True
        )
        kept, faults = done.stdout.split()
        assert kept == str(how == "keep")
        found[how] = int(faults)
    assert found["default"] > 1000
    assert found["keep"] < 100
