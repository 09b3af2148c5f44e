"""The parts that criterions are made of: what is paired, whether it can be, and which signals that needs."""

from .attention import AttentionTransfer
from .contrast import Contrast
from .hidden import HiddenTransfer
from .relation import RelationTransfer

__all__ = ["AttentionTransfer", "Contrast", "HiddenTransfer", "RelationTransfer"]
