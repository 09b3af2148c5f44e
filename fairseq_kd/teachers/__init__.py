"""Teachers: objects whose `signals(sample, wanted)` are the targets of a student."""

from .averaged import AveragedTeacher
from .live import LiveTeacher

__all__ = ["AveragedTeacher", "LiveTeacher"]
