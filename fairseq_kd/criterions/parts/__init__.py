"""The parts that criterions are made of: what is paired, whether it can be, and which signals that needs."""

from .attention import AttentionTransfer
from .compressed import CompressedStates
from .contrast import Contrast
from .gates import GatedLayers
from .hidden import HiddenTransfer
from .layer_attention import AttendedLayers
from .past import OwnPast
from .relation import RelationTransfer
from .scope import SCOPES

__all__ = [
    "SCOPES",
    "AttendedLayers",
    "AttentionTransfer",
    "CompressedStates",
    "Contrast",
    "GatedLayers",
    "HiddenTransfer",
    "OwnPast",
    "RelationTransfer",
]
