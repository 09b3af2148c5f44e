"""`experiments.py report`: what a group of runs shows, and how sure one can be of it.

Reads the folders that the launcher leaves behind and trains nothing. numpy for the intervals,
matplotlib (optional) for the plots; neither torch nor fairseq.
"""

from .command import main

__all__ = ["main"]
