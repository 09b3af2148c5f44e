"""`--lr-scheduler time_budget`: learning rate, validations, checkpoints and end of a run by the clock."""

from .time_budget import TimeBudget

__all__ = ["TimeBudget"]
