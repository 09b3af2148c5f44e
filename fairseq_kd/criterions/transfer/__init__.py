"""Transfer modules: each pairs one kind of signal of student and teacher, and compares the pairs."""

from .attention import AttentionTransfer
from .compressed import CompressedStates
from .contrastive import ContrastiveTransfer
from .gates import GatedLayers
from .hidden import HiddenTransfer
from .layer_attention import AttendedLayers
from .relation import RelationTransfer
from .token_scope import SCOPES

__all__ = [
    "SCOPES",
    "AttendedLayers",
    "AttentionTransfer",
    "CompressedStates",
    "ContrastiveTransfer",
    "GatedLayers",
    "HiddenTransfer",
    "RelationTransfer",
]
