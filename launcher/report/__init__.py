"""`experiments.py report`: scores of a group of runs, differences with confidence intervals, and plots.

Reads finished runs only; starts no training. Needs numpy, and matplotlib for plots (optional). Does not
import torch or fairseq.
"""

from .command import main

__all__ = ["main"]
