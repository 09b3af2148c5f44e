from pathlib import Path

import pytest
import torch

from fairseq_kd import precisions

INSTRUCTIONS = {"amx_bf16", "avx512_bf16"}


@pytest.mark.parametrize(("autocast", "dtype"), [("bf16", torch.bfloat16), ("none", torch.float32)])
def test_the_student_computes_matrix_products_in_its_precision(autocast, dtype):
    sample = {"net_input": {"src_tokens": torch.zeros(1, 1)}}
    with precisions.student_autocast(sample, autocast):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_cpu_with_instructions_is_measured_as_fast():
    info = Path("/proc/cpuinfo")
    if not info.is_file() or not INSTRUCTIONS & set(info.read_text().split()):
        pytest.skip("needs a CPU with bf16 instructions")
    precisions.cpu_bf16_ratio.cache_clear()
    assert 0 < precisions.cpu_bf16_ratio() < precisions.SLOW
