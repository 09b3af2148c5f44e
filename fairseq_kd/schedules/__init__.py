"""`--lr-scheduler time_budget`: a run that ends, validates, saves and decays its rate by the clock."""

from .time_budget import TimeBudget

__all__ = ["TimeBudget"]
