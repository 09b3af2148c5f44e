"""Teachers: their method `signals(sample, wanted)` returns the targets of a student."""

from .averaged import AveragedTeacher
from .live import LiveTeacher

__all__ = ["AveragedTeacher", "LiveTeacher"]
