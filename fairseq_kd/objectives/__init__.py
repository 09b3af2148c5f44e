"""What a task asks of a model, and what the answer is compared with: the truth, and the teacher's answer.

An objective gives the `hard` and `soft` terms of every criterion; methods add their own to them.
"""

from .masked_words import MaskedWords
from .sentence_labels import SentenceLabels

__all__ = ["MaskedWords", "SentenceLabels"]
