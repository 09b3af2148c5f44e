"""`--arch roberta_student*`: a RoBERTa or BERT encoder that returns its signals."""

from dataclasses import dataclass
from typing import Any, Optional

import torch
from fairseq.data import Dictionary
from fairseq.models import (
    FairseqEncoder,
    FairseqEncoderModel,
    register_model,
    register_model_architecture,
)
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from torch import Tensor, nn

from ..errors import CannotStart
from ..flags import flag, flag_name
from ..signals import Signals, Wanted
from .encoder import PAD, ClassificationHead, LMHead, SentenceEncoder
from .resume import ResumeFlags
from .shape import CONFIG_NAMES, ModelShape

FROM_SOURCE = "default: from --init-from"


@dataclass
class RobertaStudentConfig(ResumeFlags):
    encoder_layers: Optional[int] = flag(None, "number of layers (default: the number in --init-layers)")
    encoder_embed_dim: Optional[int] = flag(None, f"width of the hidden states ({FROM_SOURCE})")
    encoder_ffn_embed_dim: Optional[int] = flag(None, f"width inside the feed-forward blocks ({FROM_SOURCE})")
    encoder_attention_heads: Optional[int] = flag(None, f"attention heads per layer ({FROM_SOURCE})")
    activation_fn: Optional[str] = flag(
        None, f"activation of the feed-forward blocks: gelu, relu, tanh ({FROM_SOURCE})"
    )
    pooler_activation_fn: Optional[str] = flag(
        None, f"activation of the classification head: tanh, gelu, relu ({FROM_SOURCE})"
    )
    max_positions: Optional[int] = flag(None, f"longest input in tokens ({FROM_SOURCE})")
    layernorm_eps: Optional[float] = flag(
        None, f"epsilon of every LayerNorm; RoBERTa 1e-5, BERT 1e-12 ({FROM_SOURCE})"
    )
    segments: Optional[int] = flag(None, f"segment embeddings: 0 for RoBERTa, 2 for BERT ({FROM_SOURCE})")
    pair_format: Optional[str] = flag(
        None, f"separators between two sentences: roberta (2) or bert (1) ({FROM_SOURCE})"
    )
    encoder_normalize_before: Optional[bool] = flag(
        None, f"LayerNorm before attention and feed-forward instead of after them ({FROM_SOURCE})"
    )
    no_layernorm_embedding: Optional[bool] = flag(None, f"no LayerNorm after the embeddings ({FROM_SOURCE})")
    encoder_head_dim: Optional[int] = flag(
        None, f"dimensions of an attention head if heads were pruned; 0 for width / heads ({FROM_SOURCE})"
    )
    embedding_rank: Optional[int] = flag(
        None,
        "rank of factorised word embeddings, dimensions; 0 for embeddings that are not factorised "
        f"({FROM_SOURCE})",
    )
    dropout: float = flag(0.1, "dropout probability of hidden states (default: 0.1)")
    attention_dropout: float = flag(0.1, "dropout probability of attention weights (default: 0.1)")
    activation_dropout: float = flag(0.0, "dropout probability inside the feed-forward blocks (default: 0.0)")
    pooler_dropout: float = flag(0.0, "dropout probability in the classification head (default: 0.0)")
    init_from: Optional[str] = flag(
        None,
        "checkpoint to initialise a new student from, ignored on resume: "
        "a file, or a folder with checkpoint_best.pt or model.pt (default: --teacher)",
    )
    init_layers: str = flag(
        "all",
        "layers of --init-from to copy, bottom-up, counted from 0, such as 0,1,2; "
        "or all; or random, which copies nothing (default: all)",
    )
    init_head: bool = flag(
        False,
        "also copy the classification head of --init-from, which must have the student's sizes "
        "(default: a new head)",
    )


class StudentEncoder(FairseqEncoder):
    """The encoder, and a masked-LM head for models that have one."""

    def __init__(
        self, dictionary: Dictionary, sentence_encoder: SentenceEncoder, lm_head: Optional[LMHead]
    ) -> None:
        super().__init__(dictionary)
        self.sentence_encoder = sentence_encoder
        self.lm_head = lm_head

    def max_positions(self) -> int:
        return self.sentence_encoder.embed_positions.num_embeddings - PAD - 1


@register_model("roberta_student", dataclass=RobertaStudentConfig)
class RobertaStudent(FairseqEncoderModel):
    """RoBERTa or BERT, as student or as teacher.

    forward(src_tokens [B, T], wanted=Wanted(...)) returns Signals. Without `wanted` it returns the
    same as fairseq's RoBERTa: (class scores [B, C] or hidden states [B, T, H], extra).
    """

    def __init__(self, cfg: Any, shape: ModelShape, dictionary: Dictionary, lm_head: bool = False) -> None:
        sentence_encoder = SentenceEncoder(shape, len(dictionary), cfg)
        head = None
        if lm_head:
            projection = sentence_encoder.embed_projection.weight if shape.rank else None
            head = LMHead(shape, sentence_encoder.embed_tokens.weight, projection)
        super().__init__(StudentEncoder(dictionary, sentence_encoder, head))
        self.cfg = cfg
        # fairseq's sentence_prediction criterion reads this attribute.
        self.args = cfg
        self.shape = shape
        self.classification_heads = nn.ModuleDict()
        self.apply(init_bert_params)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "RobertaStudent":
        missing = [name for name in CONFIG_NAMES.values() if cfg.get(name) is None]
        if missing:
            flags = ", ".join(flag_name(name) for name in missing)
            raise CannotStart(
                f"the student's sizes are incomplete: {flags} missing; "
                "give --init-from or --teacher to copy them from, an --arch that sets them, or the flags."
            )

        shape = ModelShape(**{name: cfg[config_name] for name, config_name in CONFIG_NAMES.items()})
        if not shape.head_width and shape.width % shape.heads:
            raise CannotStart(
                f"--encoder-embed-dim {shape.width} is not a multiple of --encoder-attention-heads {shape.heads}: "
                "give a multiple, or the width of a head (--encoder-head-dim)."
            )
        for name, size in (("encoder_head_dim", shape.head_width), ("embedding_rank", shape.rank)):
            if not 0 <= size < shape.width:
                raise CannotStart(
                    f"{flag_name(name)} {size} is out of range for the width {shape.width}: give 1 to {shape.width - 1}, or "
                    "0 for a model that is not pruned."
                )
        if shape.segments == 1 or shape.segments < 0:
            raise CannotStart(f"--segments {shape.segments} is invalid: give 0 for none, or 2 for pairs.")
        for name in ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout"):
            if not 0 <= cfg[name] < 1:
                raise CannotStart(
                    f"{flag_name(name)} {cfg[name]} is out of range: give a probability below 1."
                )
        return cls(cfg, shape, task.source_dictionary, lm_head=getattr(task, "predicts_words", False))

    def register_classification_head(self, name: str, num_classes: int, **_: Any) -> None:
        """Add a new head for `num_classes` classes (1 for regression).

        As in fairseq, it has torch's default initialisation, which is 1.5 times as wide as the encoder's. The published
        learning rates were chosen for it.
        """
        self.classification_heads[name] = ClassificationHead(self.shape, num_classes, self.cfg.pooler_dropout)

    def forward(
        self,
        src_tokens: Tensor,
        wanted: Optional[Wanted] = None,
        classification_head_name: Optional[str] = None,
        features_only: bool = False,
        **inputs: Any,
    ) -> Signals | tuple[Tensor, dict[str, Any]]:
        if wanted is not None:
            return self.signals(src_tokens, wanted, classification_head_name, **inputs)

        places = {name: inputs[name] for name in ("padded", "real", "one_segment") if name in inputs}
        features, _ = self.encoder.sentence_encoder(src_tokens, Wanted(logits=True), **places)
        if classification_head_name is not None:
            return self.classification_heads[classification_head_name](features), {}
        if features_only or self.encoder.lm_head is None:
            return features, {}
        return self.encoder.lm_head(features), {}

    def signals(
        self,
        src_tokens: Tensor,
        wanted: Wanted,
        classification_head_name: Optional[str] = None,
        padded: bool = True,
        real: Optional[Tensor] = None,
        masked: Optional[Tensor] = None,
        one_segment: bool = False,
    ) -> Signals:
        """Return the wanted signals; higher layers are not run (see `SentenceEncoder`).

        masked  [M] positions in the flattened batch for the masked-LM head; None for the classification head
        """
        features, signals = self.encoder.sentence_encoder(src_tokens, wanted, padded, real, one_segment)
        if wanted.logits and masked is None:
            signals.logits = self.classification_heads[classification_head_name](features)
        elif wanted.logits:
            signals.masked = features.flatten(0, 1).index_select(0, masked)
            signals.lm_head = self.encoder.lm_head
            signals.lm_head_weights = [weight.view_as(weight) for weight in signals.lm_head.parameters()]
        return signals

    def get_normalized_probs(self, net_output: tuple, log_probs: bool, sample: Any = None) -> Tensor:
        """Return class (log-)probabilities from the output of `forward`, in float32."""
        scores = net_output[0].float()
        return scores.log_softmax(dim=-1) if log_probs else scores.softmax(dim=-1)

    def max_positions(self) -> int:
        return self.encoder.max_positions()

    def freeze_unreached(self, wanted: Wanted, classification_head_name: Optional[str]) -> list[str]:
        """Freeze every parameter that no wanted signal depends on; return their names.

        classification_head_name  head of the logits; None for the masked-LM head

        Without this, such a parameter has no gradient in one process. Some distributed wrappers give it a gradient of 0,
        so that weight decay changes it; others raise an error.
        """
        training = self.training
        self.eval()
        tokens = torch.tensor(
            [[0, 3, 2, 3, 2]], device=self.encoder.sentence_encoder.embed_tokens.weight.device
        )
        masked = None if classification_head_name else torch.tensor([1], device=tokens.device)
        with torch.enable_grad():
            signals = self.signals(tokens, wanted, classification_head_name, padded=False, masked=masked)
            exposed = signals.tensors()
            if signals.lm_head is not None:
                exposed.append(signals.lm_head(signals.masked))
            trainable = {name: p for name, p in self.named_parameters() if p.requires_grad}
            gradients = torch.autograd.grad(
                sum(tensor.sum() for tensor in exposed), list(trainable.values()), allow_unused=True
            )
        self.train(training)

        unreached = [name for name, grad in zip(trainable, gradients, strict=True) if grad is None]
        for name in unreached:
            trainable[name].requires_grad_(False)
        return unreached


# Defaults of a student without a source, by the pair format of the data.
DEFAULTS = {
    "roberta": {"layernorm_eps": 1e-5, "segments": 0, "pair_format": "roberta"},
    "bert": {"layernorm_eps": 1e-12, "segments": 2, "pair_format": "bert"},
}
for _defaults in DEFAULTS.values():
    _defaults |= {"activation_fn": "gelu", "pooler_activation_fn": "tanh", "max_positions": 512}
    _defaults |= {"encoder_normalize_before": False, "no_layernorm_embedding": False}
    _defaults |= {"encoder_head_dim": 0, "embedding_rank": 0}

# Name -> layers, width, feed-forward width, heads.
ARCHITECTURES = {
    "roberta_student_3x384": (3, 384, 1536, 12),
    "roberta_student_6x384": (6, 384, 1536, 12),
    "roberta_student_3x768": (3, 768, 3072, 12),
    "roberta_student_4x768": (4, 768, 3072, 12),
    "roberta_student_6x768": (6, 768, 3072, 12),
    "roberta_student_12x768": (12, 768, 3072, 12),
    "roberta_student_24x1024": (24, 1024, 4096, 16),
    "roberta_student_4x312": (4, 312, 1200, 12),
}
SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")


def _register(name: str, sizes: tuple[int, int, int, int]) -> None:
    @register_model_architecture("roberta_student", name)
    def architecture(cfg: Any) -> None:
        for field_name, size in zip(SIZES, sizes, strict=True):
            if getattr(cfg, field_name, None) is None:
                setattr(cfg, field_name, size)


for _name, _sizes in ARCHITECTURES.items():
    _register(_name, _sizes)
