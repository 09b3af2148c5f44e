"""Both scopes by hand: a sentence of two tokens and one of three, in a batch of width 2."""

import torch
from torch.testing import assert_close

from fairseq_kd.criterions.transfer.token_scope import (
    mean_over_tokens,
    mse,
    select_tokens,
    stack_states,
    teacher_signals,
)

MASK = torch.tensor([[True, True, False], [True, True, True]])
STATE = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]], [[0.0, 0.0], [6.0, 6.0], [0.0, 0.0]]])


def test_all_tokens():
    assert teacher_signals("tokens", [1, 2]).states == {1, 2}
    assert select_tokens("tokens", STATE) is STATE
    stacked = stack_states("tokens", {1: STATE, 2: 2 * STATE}, (2, 1), MASK)
    assert stacked[:, 0, 2].tolist() == [[0, 0], [0, 0]]  # padding
    assert_close(stacked[0, 1], 2 * STATE[1])
    assert mean_over_tokens("tokens", STATE, MASK).tolist() == [[2, 3], [2, 2]]
    assert mse("tokens", STATE, torch.zeros_like(STATE), MASK).tolist() == [30 / 4, 72 / 6]


def test_position_0():
    wanted = teacher_signals("cls", [1, 2])
    assert (wanted.first, wanted.states) == ({1, 2}, set())
    first = select_tokens("cls", STATE)
    assert first.tolist() == [[1, 2], [0, 0]]
    assert_close(stack_states("cls", {1: STATE, 2: 2 * STATE}, (2, 1), MASK), torch.stack([2 * first, first]))
    assert mean_over_tokens("cls", first, MASK) is first
    assert mse("cls", first, torch.zeros_like(first), MASK).tolist() == [2.5, 0]
