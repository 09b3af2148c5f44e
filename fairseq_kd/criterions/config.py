"""Flags that criterions share: all criterions, those with terms of their own, and those with a layer map."""

from dataclasses import dataclass
from typing import List, Optional  # noqa: UP035 - fairseq makes no flag of list[...]

from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..flags import flag
from ..layers import MAPPINGS


@dataclass
class DistillationConfig(FairseqDataclass):
    hard_weight: Optional[float] = flag(
        None,
        "weight of the loss against the labels, or the masked words; 0 omits it (default: 0.5, "
        "with masked_lm_kd 0)",
    )
    soft_weight: Optional[float] = flag(
        None,
        "weight of the loss against the teacher's logits; 0 omits it (default: 0.5, with masked_lm_kd "
        "1 for kd and 0 for methods with terms of their own)",
    )
    temperature: float = flag(
        2.0, "T, which divides the logits of student and teacher in the soft loss (default: 2.0)"
    )
    two_stage: Optional[float] = flag(
        None,
        "share of the time budget (--lr-scheduler time_budget) that trains with --first-weights; the rest "
        "trains with the other three weights (default: a single stage)",
    )
    first_weights: List[float] = flag(
        [],
        "with --two-stage, weights of the first stage as HARD,SOFT,INTER (default: 1,0,0: labels or masked "
        "words only)",
    )
    ddp_backend: str = II("distributed_training.ddp_backend")
    find_unused_parameters: bool = II("distributed_training.find_unused_parameters")
    fp16: bool = II("common.fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")


@dataclass
class OwnTermsConfig(DistillationConfig):
    inter_weight: float = flag(1.0, "weight of the method's own terms; 0 omits them (default: 1.0)")


@dataclass
class IntermediateConfig(OwnTermsConfig):
    mapping: str = flag(
        "skip",
        f"teacher state that each student state learns from: {MAPPINGS}; state 0 is the embedding "
        "output, which attention losses omit; for hidden states only, combine is a learned mixture of all states, "
        "combine-layers one without the embedding outputs (default: skip)",
    )
