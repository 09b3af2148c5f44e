"""Converts a model of this package to a checkpoint of stock fairseq's RoBERTa: `stock_state(checkpoint)`.

Differences:

    LayerNorm eps   always 1e-5 in stock RoBERTa
    segments        not in stock RoBERTa; for single sentences, adding segment 0 to every position is exact
    masked-LM head  required by stock RoBERTa; a model without one gets a placeholder, tied to its embeddings
    names           equal
"""

from argparse import Namespace
from typing import Any, Optional

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.encoder import PAD
from ..models.shape import LM_HEAD, SENTENCE_ENCODER, ModelShape
from .huggingface import DROPOUT

STOCK_EPS = 1e-5


def unsupported_by_fairseq(checkpoint: Checkpoint, pairs: Optional[bool], approximate: bool) -> list[str]:
    """Return an error message for each property that stock RoBERTa cannot express; empty if it has them all.

    pairs        whether the data of the model has sentence pairs; None if unknown
    approximate  accept another LayerNorm eps
    """
    shape = checkpoint.shape
    found = []
    if shape.head_width or shape.rank:
        found.append(
            f"is pruned ({shape}), which stock RoBERTa does not support: use it with this package only"
        )
    if shape.layernorm_eps != STOCK_EPS and not approximate:
        found.append(
            f"has a LayerNorm eps of {shape.layernorm_eps:g}, but stock RoBERTa always has {STOCK_EPS:g}: add --approximate "
            "to export it with slightly different outputs"
        )
    if shape.segments and pairs is None:
        found.append(
            "has segment embeddings, which stock RoBERTa can only replace for single sentences, and its training data is "
            "unknown: give --data"
        )
    if shape.segments and pairs:
        found.append(
            "has segment embeddings and its data has pairs, which stock RoBERTa does not support: use a RoBERTa model, or a "
            "task with single sentences"
        )
    return [f"--checkpoint {checkpoint.path} {text}." for text in found]


def notes(checkpoint: Checkpoint, pairs: Optional[bool]) -> list[str]:
    """Return a line for each difference between the export and the checkpoint."""
    shape, found = checkpoint.shape, []
    if shape.layernorm_eps != STOCK_EPS:
        found.append(
            f"LayerNorm      eps {STOCK_EPS:g} instead of {shape.layernorm_eps:g}: outputs differ slightly, unless eps of "
            "every LayerNorm is restored after loading"
        )
    if shape.segments:
        found.append("segments       segment 0 is added to every position; exact for single sentences")
    if LM_HEAD + "bias" not in checkpoint.weights:
        found.append("masked-LM head a placeholder: the model has none, but stock RoBERTa requires one")
    if shape.pair_format == "bert" and pairs is not False:
        found.append("pairs          joined by one </s>: encode(first, second, no_separator=True)")
    return found


def stock_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the checkpoint that fairseq loads: settings of fairseq's RoBERTa, and weights."""
    return {
        "args": _settings(checkpoint),
        "model": _weights(checkpoint),
        # fairseq needs these to continue training from the checkpoint.
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def _settings(checkpoint: Checkpoint) -> Namespace:
    shape, config = checkpoint.shape, checkpoint.config
    return Namespace(
        arch="roberta",
        task="masked_lm",
        criterion="masked_lm",
        data=".",
        encoder_layers=shape.layers,
        encoder_embed_dim=shape.width,
        encoder_ffn_embed_dim=shape.ffn,
        encoder_attention_heads=shape.heads,
        activation_fn=shape.activation,
        pooler_activation_fn=shape.pooler_activation,
        encoder_normalize_before=shape.pre_layernorm,
        layernorm_embedding=not shape.bare_embeddings,
        max_positions=shape.max_positions,
        tokens_per_sample=shape.max_positions,
        # Ignored by stock fairseq; used by this package if the file is a teacher.
        pair_format=shape.pair_format,
        dictionary_hash=checkpoint.dictionary_hash,
        fine_tuned_on=config.get("fine_tuned_on"),
        class_names=list(checkpoint.class_names),
        **{name: config.get(name, default) for name, default in DROPOUT.items()},
    )


def _weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    weights = dict(checkpoint.weights)
    segments = weights.pop(SENTENCE_ENCODER + "embed_segments.weight", None)
    if segments is not None:
        positions = weights[SENTENCE_ENCODER + "embed_positions.weight"].clone()
        positions[PAD + 1 :] += segments[0]
        weights[SENTENCE_ENCODER + "embed_positions.weight"] = positions

    if LM_HEAD + "bias" not in weights:
        weights |= _placeholder(checkpoint.shape, checkpoint.words)
    weights[LM_HEAD + "weight"] = weights[SENTENCE_ENCODER + "embed_tokens.weight"]
    # Version 3: no additional LayerNorm after the last layer.
    weights[SENTENCE_ENCODER + "version"] = torch.tensor([3.0])
    return weights


def _placeholder(shape: ModelShape, words: int) -> dict[str, Tensor]:
    return {
        LM_HEAD + "dense.weight": torch.eye(shape.width),
        LM_HEAD + "dense.bias": torch.zeros(shape.width),
        LM_HEAD + "layer_norm.weight": torch.ones(shape.width),
        LM_HEAD + "layer_norm.bias": torch.zeros(shape.width),
        LM_HEAD + "bias": torch.zeros(words),
    }
