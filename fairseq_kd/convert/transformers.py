"""A model of this package as one of transformers: the way back of `huggingface.py`, by the same tables of names.

    pair format bert     BertFor...     positions from row 0; token types from the segment embedding
    pair format roberta  RobertaFor...  positions behind the padding index, as here; one token type, zero

With a trained classification head it is ...ForSequenceClassification, without one but with a masked-LM head
...ForMaskedLM, with neither ...Model. Words keep the order of their rows here: <s> 0, <pad> 1, </s> 2, <unk> 3, the
others, <mask> last.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.encoder import PAD
from ..models.shape import SENTENCE_ENCODER
from .huggingface import (
    ACTIVATIONS,
    CLASSIFIER_NAMES,
    LAYER_NAMES,
    LM_HEAD,
    LM_HEAD_BIAS,
    LM_HEAD_NAMES,
)

CLASSES = {"bert": "Bert", "roberta": "Roberta"}
# fairseq's name -> transformers'; of several, the first.
HIDDEN_ACTS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
# Those of BERT and RoBERTa, where the checkpoint does not tell.
USUAL_DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1, "pooler_dropout": 0.0}


def problems(checkpoint: Checkpoint, head: Optional[str]) -> list[str]:
    """Why transformers' BERT or RoBERTa could not answer as this model does: sentences, none where it can.

    head  the classification head to export; None without one
    """
    shape, given, found = checkpoint.shape, f"--checkpoint {checkpoint.path}", []
    if shape.head_width or shape.rank:
        found.append(
            f"{given} is pruned ({shape}), and transformers' models have neither heads that do not fill their width nor "
            "factorised embeddings: keep it for this package."
        )
    if shape.pre_layernorm or shape.bare_embeddings:
        what = (
            "its LayerNorms before attention and feed-forward"
            if shape.pre_layernorm
            else "no LayerNorm behind its embeddings"
        )
        found.append(
            f"{given} has {what}, which transformers' BERT and RoBERTa have not: export it to stock fairseq "
            "(scripts/export_fairseq.py)."
        )
    if shape.segments and shape.pair_format == "roberta":
        found.append(
            f"{given} has segment embeddings and joins pairs as RoBERTa does, whose tokenizer tells no segments apart: keep "
            "it for this package."
        )
    if shape.activation not in HIDDEN_ACTS:
        found.append(
            f"{given} has the activation {shape.activation}, which is not among {', '.join(sorted(HIDDEN_ACTS))}: keep it "
            "for this package."
        )
    if head and shape.pooler_activation != "tanh":
        found.append(
            f"{given} has {shape.pooler_activation} in its classification head, where transformers has tanh: keep it for "
            "this package."
        )
    if _class_suffix(checkpoint, head) == "ForMaskedLM" and not _expressible_lm_head(checkpoint):
        found.append(
            f"{given} has {shape.activation} in its masked-LM head, where transformers' RoBERTa has gelu: keep it for this "
            "package."
        )
    return found


def class_name(checkpoint: Checkpoint, head: Optional[str]) -> str:
    """The class of transformers that the model becomes."""
    return CLASSES[checkpoint.shape.pair_format] + _class_suffix(checkpoint, head)


def config_of(checkpoint: Checkpoint, head: Optional[str], labels: Sequence[str]) -> dict[str, Any]:
    """config.json.

    labels  names of the head's classes in the order of its logits; () where they have none
    """
    shape = checkpoint.shape
    dropout = {name: checkpoint.config.get(name, usual) for name, usual in USUAL_DROPOUT.items()}
    config = {
        "architectures": [class_name(checkpoint, head)],
        "model_type": shape.pair_format,
        "vocab_size": checkpoint.words,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "hidden_act": HIDDEN_ACTS[shape.activation],
        "hidden_dropout_prob": dropout["dropout"],
        "attention_probs_dropout_prob": dropout["attention_dropout"],
        "classifier_dropout": dropout["pooler_dropout"],
        "max_position_embeddings": shape.max_positions + (0 if shape.pair_format == "bert" else PAD + 1),
        "type_vocab_size": shape.segments or 1,
        "initializer_range": 0.02,
        "layer_norm_eps": shape.layernorm_eps,
        "bos_token_id": 0,
        "pad_token_id": PAD,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    if head:
        count = checkpoint.classes(head)
        names = list(labels) or [f"LABEL_{number}" for number in range(count)]
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
        config["problem_type"] = "regression" if count == 1 else "single_label_classification"
    return config


def weights_of(checkpoint: Checkpoint, head: Optional[str]) -> dict[str, Tensor]:
    """The state dict of `class_name`, in float32."""
    kind, suffix = checkpoint.shape.pair_format, _class_suffix(checkpoint, head)
    theirs = _embeddings(checkpoint)
    for number in range(checkpoint.shape.layers):
        for name, ours in LAYER_NAMES.items():
            _copy(
                checkpoint,
                f"{SENTENCE_ENCODER}layers.{number}.{ours}",
                theirs,
                f"encoder.layer.{number}.{name}",
            )

    if suffix == "ForSequenceClassification":
        for name, ours in CLASSIFIER_NAMES[kind].items():
            _copy(checkpoint, f"classification_heads.{head}.{ours}", theirs, name)
    if suffix == "ForMaskedLM":
        for name, ours in zip(LM_HEAD_NAMES[kind], ("dense", "layer_norm"), strict=True):
            _copy(checkpoint, LM_HEAD + ours, theirs, name)
        # Under both of its names: transformers 4 forgets the first as it ties the two.
        theirs |= {name: checkpoint.weights[LM_HEAD + "bias"].clone() for name in LM_HEAD_BIAS[kind]}

    prefix = "" if suffix == "Model" else f"{kind}."
    body = ("embeddings.", "encoder.", "pooler.")
    return {
        (prefix if name.startswith(body) else "") + name: value.float().contiguous()
        for name, value in theirs.items()
    }


def left_out(checkpoint: Checkpoint, head: Optional[str]) -> list[str]:
    """What the model has and the exported one has not: a phrase each."""
    prefix = "classification_heads."
    heads = {
        name.removeprefix(prefix).split(".")[0] for name in checkpoint.weights if name.startswith(prefix)
    }
    found = [f"classification head {name}" for name in sorted(heads - {head})]
    if head and checkpoint.has_lm_head:
        found.append("masked-LM head")
    return found


def _class_suffix(checkpoint: Checkpoint, head: Optional[str]) -> str:
    if head:
        return "ForSequenceClassification"
    return "ForMaskedLM" if checkpoint.has_lm_head else "Model"


def _expressible_lm_head(checkpoint: Checkpoint) -> bool:
    """BERT's masked-LM head has the activation of its layers, as here; RoBERTa's always gelu."""
    return checkpoint.shape.pair_format == "bert" or checkpoint.shape.activation == "gelu"


def _embeddings(checkpoint: Checkpoint) -> dict[str, Tensor]:
    words, positions = (
        checkpoint.weights[f"{SENTENCE_ENCODER}embed_{name}.weight"] for name in ("tokens", "positions")
    )
    types = checkpoint.weights.get(SENTENCE_ENCODER + "embed_segments.weight")
    theirs = {
        "embeddings.word_embeddings.weight": words,
        "embeddings.position_embeddings.weight": positions[
            PAD + 1 if checkpoint.shape.pair_format == "bert" else 0 :
        ],
        "embeddings.token_type_embeddings.weight": torch.zeros(1, words.size(1)) if types is None else types,
    }
    _copy(checkpoint, SENTENCE_ENCODER + "layernorm_embedding", theirs, "embeddings.LayerNorm")
    return theirs


def _copy(checkpoint: Checkpoint, ours: str, theirs: dict[str, Tensor], name: str) -> None:
    """Weight and bias of one linear layer or LayerNorm."""
    for part in ("weight", "bias"):
        theirs[f"{name}.{part}"] = checkpoint.weights[f"{ours}.{part}"]
