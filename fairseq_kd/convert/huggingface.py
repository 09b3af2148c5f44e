"""Converts a Hugging Face BERT, RoBERTa or XLM-RoBERTa to a model of this package: `convert(config, weights, rows, given)`.

Differences, in addition to the names of parameters:

    positions       begin at row 2 here, after fairseq's padding index; at row 0 in BERT
    words           fairseq's order here: <s> <pad> </s> <unk>, the others, <mask>; `rows` has the original rows
    token types     two in BERT become the segment embedding; a single one is added to every position
    LayerNorm eps   1e-12 in BERT; kept
    BERT's head     pooler and classifier become dense and out_proj. In training, transformers applies dropout between
                    them; this package also applies it before dense, as in RoBERTa. Outputs without dropout are equal
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CannotStart
from ..models.shape import LM_HEAD, SENTENCE_ENCODER, ModelShape

# Model types and the one whose parameters they have.
MODEL_TYPES = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta"}
EMBEDDINGS = "embeddings.word_embeddings.weight"
# Names of weights outside the encoder that only one type has.
HEADS_OF_TYPE = {"cls.": "bert", "lm_head.": "roberta", "classifier.dense.": "roberta"}
# Prefixes that DataParallel and torch.compile add to every name.
WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
HEAD = "classification_heads.sentence_classification_head."

# Dropout probabilities of BERT and RoBERTa, for models that do not record them.
DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "pooler_dropout": 0.0}

# transformers' name -> fairseq's
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_accurate",
    "gelu_fast": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate",
    "relu": "relu",
    "tanh": "tanh",
}

# Required sizes in config.json.
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")

# Names within one layer.
LAYER_NAMES = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}

# Masked-LM heads: dense and layer_norm; the output bias; the output matrix if it is stored a second time.
LM_HEAD_NAMES = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm"),
}
LM_HEAD_BIAS = {
    "bert": ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    "roberta": ("lm_head.bias", "lm_head.decoder.bias"),
}
LM_HEAD_WORDS = {"bert": "cls.predictions.decoder.weight", "roberta": "lm_head.decoder.weight"}

CLASSIFIER_NAMES = {
    "bert": {"pooler.dense": "dense", "classifier": "out_proj"},
    "roberta": {"classifier.dense": "dense", "classifier.out_proj": "out_proj"},
}


@dataclass(frozen=True)
class Converted:
    """A converted model.

    labels    class names of its classification head, in order; empty without a head
    left_out  descriptions of the parts that were not converted
    """

    shape: ModelShape
    weights: dict[str, Tensor]
    labels: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def heads(self) -> list[str]:
        """Descriptions of the converted heads."""
        found = []
        if self.labels:
            found.append(f"classification ({', '.join(self.labels)})")
        if LM_HEAD + "bias" in self.weights:
            found.append("masked LM")
        return found


def model_type(config: Mapping[str, Any], names: Iterable[str], given: str) -> str:
    """Return the model type for a config.json without `model_type`, as in files from before 2020.

    The type is the prefix of the weights' names. Else the class in config.json or the name of a head shows it.

    names   names of the weights
    given   name of the model in errors

    Raises CannotStart if none of them shows the type.
    """
    names = [WRAPPERS.sub("", name) for name in names]
    prefixes = {name.removesuffix(EMBEDDINGS).rstrip(".") for name in names if name.endswith(EMBEDDINGS)}
    found = [prefix for prefix in sorted(prefixes) if prefix]
    found += [
        re.split("For|Model|LMHead", name)[0].lower()
        for name in config.get("architectures") or []
        if isinstance(name, str)
    ]
    found += [kind for head, kind in HEADS_OF_TYPE.items() if any(name.startswith(head) for name in names)]
    if found:
        return found[0]
    raise CannotStart(
        f"{given} has a config.json without model_type, and the names of its weights do not show the type: add the line "
        '"model_type": "bert", or "roberta", to config.json.',
        doing="convert",
    )


def check_config(config: Mapping[str, Any], given: str) -> None:
    """Raise CannotStart with all reasons why the model `given` cannot be converted exactly."""
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise CannotStart(
            f"{given} has a model of type {kind}: use one of {', '.join(MODEL_TYPES)}.", doing="convert"
        )

    errors = []
    missing = [name for name in SIZES if name not in config]
    if missing:
        errors.append(
            f"{given} has a config.json without {', '.join(missing)}: use the config.json of the model."
        )
    positions = config.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        errors.append(
            f"{given} has {positions} positions (position_embedding_type in config.json), which this package does not "
            "support: use a model with absolute positions."
        )
    if config.get("is_decoder") or config.get("add_cross_attention"):
        errors.append(
            f"{given} is a decoder (is_decoder or add_cross_attention in config.json): use an encoder."
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        errors.append(
            f"{given} uses the activation {activation} (hidden_act in config.json), which fairseq does not have: "
            f"use a model with {', '.join(ACTIVATIONS)}."
        )
    if errors:
        raise CannotStart(*errors, doing="convert")


def convert(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], rows: Sequence[int], given: str
) -> Converted:
    """Return the converted model, in float32.

    config   config.json
    weights  state dict of any BERT or RoBERTa class of transformers
    rows     row of the model's vocabulary for each index of the fairseq dictionary
    given    name of the model in errors

    Raises CannotStart if a part of the encoder cannot be converted.
    """
    check_config(config, given)
    kind = MODEL_TYPES[config["model_type"]]
    config = {**config, "model_type": kind}
    source = _Source(_plain_names(kind, weights, given), given)
    rows = torch.tensor(rows)

    ours, segments = _embeddings(source, config, rows)
    ours.update(_layers(source, config["num_hidden_layers"]))
    _check_sizes(config, ours, given)
    left_out: list[str] = []
    ours.update(_lm_head(source, config, rows, ours[SENTENCE_ENCODER + "embed_tokens.weight"], left_out))
    head = _classification_head(source, config, left_out)
    ours.update(head)
    left_out += _leftovers(source)

    return Converted(
        shape=ModelShape(
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            ffn=config["intermediate_size"],
            heads=config["num_attention_heads"],
            activation=ACTIVATIONS[config.get("hidden_act", "gelu")],
            max_positions=ours[SENTENCE_ENCODER + "embed_positions.weight"].size(0) - 2,
            layernorm_eps=config.get("layer_norm_eps", 1e-12),
            segments=segments,
            pair_format=kind,
        ),
        weights=ours,
        labels=_labels(config, head),
        left_out=tuple(left_out),
    )


def _check_sizes(config: Mapping[str, Any], ours: Mapping[str, Tensor], given: str) -> None:
    """Raise CannotStart if config.json and weights have different sizes."""
    width = ours[SENTENCE_ENCODER + "embed_tokens.weight"].size(1)
    sizes = {
        "hidden_size": width,
        "intermediate_size": ours[SENTENCE_ENCODER + "layers.0.fc1.weight"].size(0),
    }
    errors = [
        f"{name} {config[name]}, but weights of {size}"
        for name, size in sizes.items()
        if config[name] != size
    ]
    if not config["num_attention_heads"] or width % config["num_attention_heads"]:
        errors.append(f"{config['num_attention_heads']} attention heads, but a width of {width}")
    if errors:
        raise CannotStart(
            f"{given} has {', and '.join(errors)}: use the config.json of the model.", doing="convert"
        )


class _Source:
    """The weights to convert; `take` moves them out of `unused`."""

    def __init__(self, weights: Mapping[str, Tensor], given: str) -> None:
        self.unused = dict(weights)
        self.given = given

    def __contains__(self, name: str) -> bool:
        return name in self.unused

    def take(self, name: str) -> Tensor:
        if name not in self.unused:
            raise CannotStart(
                f"{self.given} has no weights {name}: give the folder of a complete BERT or RoBERTa model.",
                doing="convert",
            )
        value = self.unused.pop(name)
        if not value.is_floating_point():
            raise CannotStart(
                f"{self.given} has {name} as {value.dtype}, so it seems to be quantized: use the original model.",
                doing="convert",
            )
        return value.float()

    def take_module(self, theirs: str, ours: str) -> dict[str, Tensor]:
        """Return weight and bias of one linear layer or LayerNorm."""
        return {f"{ours}.{part}": self.take(f"{theirs}.{part}") for part in ("weight", "bias")}


def _plain_names(kind: str, weights: Mapping[str, Tensor], given: str) -> dict[str, Tensor]:
    """Return weights by name without wrapper and model prefixes; gamma and beta become weight and bias."""
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        new = WRAPPERS.sub("", name).removeprefix(f"{kind}.")
        new = re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", new))
        if new in plain:
            raise CannotStart(
                f"{given} has {new} twice, once as {name}: get a new copy of the weights.", doing="convert"
            )
        plain[new] = value
    return plain


def _embeddings(source: _Source, config: Mapping[str, Any], rows: Tensor) -> tuple[dict[str, Tensor], int]:
    words = source.take(EMBEDDINGS)
    if int(rows.max()) >= words.size(0):
        raise CannotStart(
            f"{source.given} has {words.size(0)} word embeddings, but its vocabulary has ids up to "
            f"{int(rows.max())}: give the tokenizer files of the model.",
            doing="convert",
        )

    positions = source.take("embeddings.position_embeddings.weight")
    padding = config.get("pad_token_id")
    first = 0 if config["model_type"] == "bert" else (1 if padding is None else padding) + 1
    positions = torch.cat([positions.new_zeros(2, positions.size(1)), positions[first:]])

    types = source.take("embeddings.token_type_embeddings.weight")
    segments = 2 if config["model_type"] == "bert" and types.size(0) > 1 else 0
    if not segments:
        positions[2:] += types[0]

    ours = {"embed_tokens.weight": words[rows], "embed_positions.weight": positions}
    if segments:
        ours["embed_segments.weight"] = types[:segments].clone()
    ours.update(source.take_module("embeddings.LayerNorm", "layernorm_embedding"))
    return {SENTENCE_ENCODER + name: value for name, value in ours.items()}, segments


def _layers(source: _Source, count: int) -> dict[str, Tensor]:
    ours = {}
    for number in range(count):
        prefix = f"{SENTENCE_ENCODER}layers.{number}."
        for theirs, name in LAYER_NAMES.items():
            ours.update(source.take_module(f"encoder.layer.{number}.{theirs}", prefix + name))
    return ours


def _lm_head(
    source: _Source, config: Mapping[str, Any], rows: Tensor, words: Tensor, left_out: list[str]
) -> dict[str, Tensor]:
    kind = config["model_type"]
    dense, layer_norm = LM_HEAD_NAMES[kind]
    if f"{dense}.weight" not in source:
        return {}

    ours = source.take_module(dense, LM_HEAD + "dense")
    ours.update(source.take_module(layer_norm, LM_HEAD + "layer_norm"))
    biases = [source.take(name) for name in LM_HEAD_BIAS[kind] if name in source] or [
        source.take(LM_HEAD_BIAS[kind][0])
    ]
    own_words = source.take(LM_HEAD_WORDS[kind]) if LM_HEAD_WORDS[kind] in source else None

    if own_words is not None and (own_words.size(0) <= rows.max() or not torch.equal(own_words[rows], words)):
        left_out.append("masked-LM head (its output matrix is not tied to the embeddings)")
        return {}
    if kind == "roberta" and ACTIVATIONS[config.get("hidden_act", "gelu")] != "gelu":
        left_out.append("masked-LM head (its activation differs from that of the layers)")
        return {}
    return {**ours, LM_HEAD + "weight": words, LM_HEAD + "bias": biases[0][rows]}


def _classification_head(
    source: _Source, config: Mapping[str, Any], left_out: list[str]
) -> dict[str, Tensor]:
    names = CLASSIFIER_NAMES[config["model_type"]]
    # A multiple-choice BERT has the same names, but one score per choice.
    classes = config.get("architectures") or ["ForSequenceClassification"]
    if not all(f"{theirs}.weight" in source for theirs in names) or not any(
        name.endswith("ForSequenceClassification") for name in classes
    ):
        return {}

    ours = {}
    for theirs, name in names.items():
        ours.update(source.take_module(theirs, HEAD + name))
    if any(name.startswith("fit_dense") for name in source.unused):
        left_out.append("classification head (TinyBERT's, which has a ReLU between its two layers)")
        return {}
    return ours


def _labels(config: Mapping[str, Any], head: Mapping[str, Tensor]) -> tuple[str, ...]:
    if not head:
        return ()
    classes = head[HEAD + "out_proj.weight"].size(0)
    names = {str(number): name for number, name in (config.get("id2label") or {}).items()}
    return tuple(names.get(str(number), f"LABEL_{number}") for number in range(classes))


def _leftovers(source: _Source) -> list[str]:
    """Return the unused modules. Raises CannotStart if one of them is part of the encoder."""
    modules = sorted({name.rpartition(".")[0] for name in source.unused if not _is_index_buffer(name)})
    inside = [module for module in modules if module.startswith(("embeddings", "encoder."))]
    if inside:
        raise CannotStart(
            f"{source.given} has encoder weights that this package does not support ({inside[0]}"
            f"{f' and {len(inside) - 1} more' if len(inside) > 1 else ''}): use a standard BERT or RoBERTa.",
            doing="convert",
        )
    return ["pooler (without a classifier)" if module == "pooler.dense" else module for module in modules]


def _is_index_buffer(name: str) -> bool:
    """Return whether this is a buffer with the numbers 0, 1, 2, ..., which old versions of transformers save."""
    return name.endswith((".position_ids", ".token_type_ids"))
