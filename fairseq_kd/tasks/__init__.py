"""Tasks; importing registers them."""

from . import sentence_prediction_kd  # noqa: F401
