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
