"""The fp32 masters of half-precision weights."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.optim.fp16_optimizer import FP16Optimizer
from torch.nn import Parameter

from fairseq_kd.optim import in_full_precision


@pytest.mark.parametrize("flat", [False, True])
def test_masters_of_fairseqs_wrapper_have_the_shapes_of_the_weights(monkeypatch, flat):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    full = [torch.randn(2, 3), torch.randn(4), torch.randn(1, 1, 5)]
    weights = [Parameter(value.half()) for value in full]
    masters = FP16Optimizer.build_fp32_params(SimpleNamespace(), weights, flatten=flat)
    with torch.no_grad():
        for master in masters.values() if flat else masters:
            master += 1e-5  # less than fp16 can resolve
    wrapper = SimpleNamespace(optimizer=None, fp16_params=weights, fp32_params=masters, has_flat_params=flat)
    frozen = Parameter(torch.zeros(3))

    found = in_full_precision({**dict(zip("abc", weights, strict=True)), "frozen": frozen}, wrapper)
    for name, weight in zip("abc", weights, strict=True):
        assert found[name].shape == weight.shape
        assert torch.equal(found[name].detach(), weight.detach().float() + 1e-5)
    assert found["frozen"] is frozen
