"""Objectives: the predictions that a task trains, and their loss against labels and teacher.

An objective computes the `hard` and `soft` terms of every criterion; methods add their own terms.
"""

from .masked_words import MaskedWords
from .sentence_labels import SentenceLabels

__all__ = ["MaskedWords", "SentenceLabels"]
