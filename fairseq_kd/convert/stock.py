"""A model of this package as a checkpoint of stock fairseq's RoBERTa: `stock_state(checkpoint, ...)`.

What differs between the two:

    LayerNorm eps   1e-5 in stock RoBERTa, whatever the checkpoint says
    segments        none; where all text is a first sentence, segment 0 goes into every position, exactly
    masked-LM head  always there; a model without one gets a placeholder, tied to its embeddings
    names           the same
"""

from argparse import Namespace
from typing import Any, Optional

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.encoder import PAD
from ..models.shape import SENTENCE_ENCODER, ModelShape

STOCK_EPS = 1e-5
LM_HEAD = "encoder.lm_head."
# Those of RoBERTa, where the checkpoint does not tell.
USUAL_DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "pooler_dropout": 0.0}


def problems(checkpoint: Checkpoint, pairs: Optional[bool], approximate: bool) -> list[str]:
    """Why stock RoBERTa could not answer as this model does: sentences, none where it can.

    pairs        whether its data has pairs of sentences; None where nobody knows
    approximate  whether another LayerNorm eps is allowed for
    """
    shape, found = checkpoint.shape, []
    if shape.head_width or shape.rank:
        found.append(
            f"--checkpoint {checkpoint.path} is pruned ({shape}), and stock RoBERTa has neither heads that do not fill its "
            "width nor factorised embeddings: keep it for this package."
        )
    if shape.layernorm_eps != STOCK_EPS and not approximate:
        found.append(
            f"--checkpoint {checkpoint.path} has a LayerNorm eps of {shape.layernorm_eps:g}, and stock RoBERTa always "
            f"{STOCK_EPS:g}: add --approximate to export it all the same, with answers that differ a little."
        )
    if shape.segments and pairs is None:
        found.append(
            f"--checkpoint {checkpoint.path} has segment embeddings, which stock RoBERTa can do without for single "
            "sentences alone, and does not say what it was trained on: give --data."
        )
    if shape.segments and pairs:
        found.append(
            f"--checkpoint {checkpoint.path} has segment embeddings and its data has pairs, which stock RoBERTa cannot "
            "express: take a model of RoBERTa's kind, or one for single sentences."
        )
    return found


def notes(checkpoint: Checkpoint, pairs: Optional[bool]) -> list[str]:
    """What is otherwise than in the checkpoint: a line each, none where nothing is."""
    shape, found = checkpoint.shape, []
    if shape.layernorm_eps != STOCK_EPS:
        found.append(
            f"LayerNorm      eps {STOCK_EPS:g} instead of {shape.layernorm_eps:g}: answers differ a little, unless every "
            "LayerNorm's eps is set back once it is loaded"
        )
    if shape.segments:
        found.append("segments       that of first sentences in every position, exact for single sentences")
    if LM_HEAD + "bias" not in checkpoint.weights:
        found.append(
            "masked-LM head a placeholder: the model has none, and stock RoBERTa does not load without"
        )
    if shape.pair_format == "bert" and pairs is not False:
        found.append("pairs          joined by one </s>: encode(first, second, no_separator=True)")
    return found


def stock_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What `torch.save` writes for fairseq to load: settings as fairseq's own RoBERTa has them, and weights."""
    return {
        "args": _settings(checkpoint),
        "model": _weights(checkpoint),
        # What fairseq looks for when it goes on training from here.
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
        # Nothing to stock fairseq; for this package, when the file is its teacher.
        pair_format=shape.pair_format,
        dictionary_hash=checkpoint.dictionary_hash,
        fine_tuned_on=config.get("fine_tuned_on"),
        class_names=list(checkpoint.class_names),
        **{name: config.get(name, usual) for name, usual in USUAL_DROPOUT.items()},
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
    # Says that no LayerNorm follows the last layer but the layer's own.
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
