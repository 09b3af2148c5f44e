"""Flags that criterions share: of all, of those with terms of their own, of those that pair layers."""

from dataclasses import dataclass, field
from typing import List, Optional  # noqa: UP035 - fairseq makes no flag of list[...]

from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..layers import MAPPINGS


@dataclass
class DistillationConfig(FairseqDataclass):
    hard_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight of the loss against the labels, or the masked words; 0 leaves it out (default: 0.5, "
            "with masked_lm_kd 0)"
        },
    )
    soft_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight of the loss against the teacher's logits; 0 leaves it out (default: 0.5, with masked_lm_kd "
            "1 for kd and 0 for methods with terms of their own)"
        },
    )
    temperature: float = field(
        default=2.0, metadata={"help": "T that divides both sides' logits in the soft loss (default: 2.0)"}
    )
    two_stage: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of the time budget (--lr-scheduler time_budget) in which the three weights are those of "
            "--first-weights; then they are the usual (default: no such stage)"
        },
    )
    first_weights: List[float] = field(
        default_factory=list,
        metadata={
            "help": "with --two-stage, weights of the first stage as HARD,SOFT,INTER (default: 1,0,0, which learns from "
            "the labels or the masked words alone)"
        },
    )
    ddp_backend: str = II("distributed_training.ddp_backend")
    find_unused_parameters: bool = II("distributed_training.find_unused_parameters")
    fp16: bool = II("common.fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")


@dataclass
class OwnTermsConfig(DistillationConfig):
    inter_weight: float = field(
        default=1.0, metadata={"help": "weight of the method's own terms; 0 leaves them out (default: 1.0)"}
    )


@dataclass
class IntermediateConfig(OwnTermsConfig):
    mapping: str = field(
        default="skip",
        metadata={
            "help": f"which teacher state each student state learns from: {MAPPINGS}; state 0 is the embedding "
            "output, which attention losses leave out; combine, for hidden states alone, is a learned mixture of all, "
            "combine-layers one without the embedding outputs (default: skip)"
        },
    )
