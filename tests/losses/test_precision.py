import pytest
import torch

from fairseq_kd.losses.precision import at_least_float32, lowest

FP16, BF16, FP32, FP64 = torch.float16, torch.bfloat16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("dtypes", "expected"), [((FP16, BF16), FP32), ((FP16, FP32), FP32), ((BF16, FP64), FP64)]
)
def test_losses_are_computed_in_the_widest_type_but_at_least_in_float32(dtypes, expected):
    assert at_least_float32(*(torch.zeros(2, dtype=dtype) for dtype in dtypes)) == expected


@pytest.mark.parametrize("dtype", [FP16, BF16, FP32, FP64])
def test_the_lowest_score_is_finite_and_has_probability_0(dtype):
    score = lowest(torch.zeros(2, dtype=dtype))
    scores = torch.tensor([score, 0.0], dtype=dtype)
    assert scores.isfinite().all()
    assert scores.softmax(dim=0).tolist() == [0.0, 1.0]
