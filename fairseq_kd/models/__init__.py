"""Student architectures; importing registers them."""

from . import roberta_student  # noqa: F401
