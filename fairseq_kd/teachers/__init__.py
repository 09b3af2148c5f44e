"""Whatever turns a batch into the signals a student learns from."""

from .live import LiveTeacher

__all__ = ["LiveTeacher"]
