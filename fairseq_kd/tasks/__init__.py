"""Tasks; importing registers them."""

from . import masked_lm_kd, sentence_prediction_kd  # noqa: F401
