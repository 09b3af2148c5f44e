"""Compares the signals in a cache with those of the live teacher."""

import torch
from torch.testing import assert_close

from fairseq_kd.losses import Compressed
from fairseq_kd.signals import Signals
from tests.tiny import batch


def check_stored(task, live, split: str, tolerance: float = 1e-3) -> None:
    """Assert that every row of a split is stored, with the signals of the teacher of the task `live`."""
    if split not in task.datasets:
        task.load_dataset(split)
    wanted = task.teacher.wanted
    for row in range(len(task.dataset(split))):
        sample = batch(task, [row], split)
        assert "cached" in sample, f"row {row} of {split} is missing or damaged"
        expected = live.teacher.signals(batch(live, [row], split), wanted)
        check_signals(task.teacher.signals(sample, wanted), expected, tolerance)


def check_signals(found: Signals, expected: Signals, tolerance: float) -> None:
    """Assert that both have the same signals, with equal values."""
    assert torch.equal(found.mask, expected.mask)
    for name in ("logits", "masked"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for name in ("states", "attention", "queries", "keys", "values", "compressed"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.keys() == theirs.keys(), name
        for number in ours:
            _same(ours[number], theirs[number], expected.mask, tolerance)


def _same(found, expected, mask, tolerance):
    """Assert that two signals are equal at real positions; padded positions may differ."""
    if isinstance(found, Compressed):
        return _same_kept(found, expected, tolerance)
    if found.dim() == 4 and found.size(-1) == found.size(-2) == mask.size(1):
        real = mask[:, None, :, None] & mask[:, None, None, :]
    elif found.dim() == 4:
        real = mask[:, None, :, None]
    elif found.dim() == 3 and found.size(1) > 1:
        real = mask[:, :, None]
    else:
        real = torch.ones(1, dtype=torch.bool)
    return assert_close(found * real, expected.float() * real, rtol=tolerance, atol=tolerance)


def _same_kept(found, expected, tolerance):
    assert torch.equal(found.real, expected.real)
    assert_close(found.values, expected.values, rtol=tolerance, atol=tolerance)
    for name in ("positions", "index", "kept"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        valid = found.real if name == "positions" else found.kept
        if one is not None:
            assert torch.equal(one * valid, other * valid), name
