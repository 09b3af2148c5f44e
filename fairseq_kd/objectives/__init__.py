"""What a task asks of a model, and what the answer is compared with: labels, and the teacher's answer.

An objective gives the `hard` and `soft` terms of every criterion; methods add their own to them.
"""

from .sentence_labels import SentenceLabels

__all__ = ["SentenceLabels"]
