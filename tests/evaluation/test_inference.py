"""Logits in the precision of a run's validations equal those of the validations."""

import numpy as np
import pytest
import torch

from fairseq_kd.evaluation.inference import precision_of
from fairseq_kd.evaluation.loaded_model import LoadedModel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "precision", "rounded"),
    [
        ("--autocast bf16", "autocast bf16", lambda x: torch.from_numpy(x).bfloat16().float().numpy()),
        ("--fp16 --fp16-no-flatten-grads", "fp16", lambda x: x.astype(np.float16)),
        ("--memory-efficient-fp16", "fp16", lambda x: x.astype(np.float16)),
    ],
)
def test_logits_are_those_of_the_validation_in_16_bits(train, flags, precision, rounded):
    run = train("TINY", *flags.split())
    model = LoadedModel.read(str(run.folder), run.data)
    [(_, found)] = model.predict(["valid"], torch.device("cpu"))
    np.testing.assert_array_equal(found.logits, run.seen["valid"])
    np.testing.assert_array_equal(found.logits, rounded(found.logits))
    assert precision_of(model.checkpoint) == precision


def test_a_run_without_flags_is_in_fp32(three_classes):
    assert precision_of(LoadedModel.read(str(three_classes.folder), three_classes.data).checkpoint) == "fp32"
