"""Whatever turns a batch into the signals a student learns from."""

from .averaged import AveragedTeacher
from .live import LiveTeacher

__all__ = ["AveragedTeacher", "LiveTeacher"]
