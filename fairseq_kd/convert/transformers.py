"""Converts a model of this package to transformers: the inverse of `huggingface.py`, with the same name tables.

    pair format bert     BertFor...     positions from row 0; token types from the segment embedding
    pair format roberta  RobertaFor...  positions after the padding index, as here; one token type, zero

The class is ...ForSequenceClassification with a trained classification head, else ...ForMaskedLM with a masked-LM
head, else ...Model. Words keep the order of their rows: <s> 0, <pad> 1, </s> 2, <unk> 3, the others, <mask> last.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.encoder import PAD
from ..models.shape import LM_HEAD, SENTENCE_ENCODER
from .huggingface import ACTIVATIONS, CLASSIFIER_NAMES, DROPOUT, LAYER_NAMES, LM_HEAD_BIAS, LM_HEAD_NAMES

CLASSES = {"bert": "Bert", "roberta": "Roberta"}
# fairseq's name -> the first of transformers' names.
HIDDEN_ACTS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}


def unsupported_by_transformers(checkpoint: Checkpoint, head: Optional[str]) -> list[str]:
    """Return an error message for each property that BERT or RoBERTa of transformers cannot express.

    head  the classification head to export; None without one
    """
    shape, kind = checkpoint.shape, checkpoint.shape.pair_format
    lm_head = _class_suffix(checkpoint, head) == "ForMaskedLM"
    # RoBERTa's masked-LM head always has gelu, BERT's has the activation of the layers.
    other_lm_head = lm_head and kind == "roberta" and shape.activation != "gelu"
    cases = [
        (shape.head_width or shape.rank, f"is pruned ({shape})"),
        (shape.pre_layernorm, "has LayerNorms before attention and feed-forward"),
        (shape.bare_embeddings, "has no LayerNorm after its embeddings"),
        (shape.segments and kind == "roberta", "has segment embeddings and RoBERTa's pair format"),
        (shape.activation not in HIDDEN_ACTS, f"has the activation {shape.activation}"),
        (
            head and shape.pooler_activation != "tanh",
            f"has {shape.pooler_activation} in its classification head",
        ),
        (other_lm_head, f"has {shape.activation} in its masked-LM head"),
    ]
    return [
        f"--checkpoint {checkpoint.path} {difference}, which BERT and RoBERTa of transformers do not support: export it as "
        "an ONNX file (--onnx-only), or try stock fairseq (scripts/export_fairseq.py)."
        for applies, difference in cases
        if applies
    ]


def class_name(checkpoint: Checkpoint, head: Optional[str]) -> str:
    """Return the name of the exported model's class in transformers."""
    return CLASSES[checkpoint.shape.pair_format] + _class_suffix(checkpoint, head)


def config_of(checkpoint: Checkpoint, head: Optional[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return the content of config.json.

    labels  class names of the head in the order of its logits; () if unknown
    """
    shape = checkpoint.shape
    dropout = {name: checkpoint.config.get(name, default) for name, default in DROPOUT.items()}
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
        names = label_names(checkpoint, head, labels)
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
        config["problem_type"] = "regression" if len(names) == 1 else "single_label_classification"
    return config


def label_names(checkpoint: Checkpoint, head: str, labels: Sequence[str]) -> list[str]:
    """Return the class names of the head; LABEL_0, ... if `labels` is empty."""
    return list(labels) or [f"LABEL_{number}" for number in range(checkpoint.classes(head))]


def weights_of(checkpoint: Checkpoint, head: Optional[str]) -> dict[str, Tensor]:
    """Return the state dict of `class_name`, in float32."""
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
        # Both names, which transformers 4 ties; it drops the first.
        theirs |= {name: checkpoint.weights[LM_HEAD + "bias"].clone() for name in LM_HEAD_BIAS[kind]}

    prefix = "" if suffix == "Model" else f"{kind}."
    body = ("embeddings.", "encoder.", "pooler.")
    return {
        (prefix if name.startswith(body) else "") + name: value.float().contiguous()
        for name, value in theirs.items()
    }


def left_out(checkpoint: Checkpoint, head: Optional[str]) -> list[str]:
    """Return descriptions of the parts that are not exported."""
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
    """Copy weight and bias of one linear layer or LayerNorm."""
    for part in ("weight", "bias"):
        theirs[f"{name}.{part}"] = checkpoint.weights[f"{ours}.{part}"]
