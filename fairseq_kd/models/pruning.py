"""Prunes a model by the importance of its weights (ROSITA).

Paper: Liu et al., ROSITA: Refined BERT Compression with Integrated Techniques, AAAI 2021.

Shapes: H width, A heads, d dimensions of a head, F feed-forward neurons, V words.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..layers import student_state_dict
from .shape import LM_HEAD, SENTENCE_ENCODER, ModelShape

WORDS, PROJECTION = SENTENCE_ENCODER + "embed_tokens.weight", SENTENCE_ENCODER + "embed_projection.weight"

# Parameters of each layer whose importance decides which heads and neurons are kept.
SCORED = ("self_attn.out_proj.weight", "fc1.weight", "fc2.weight")


@dataclass(frozen=True)
class Sizes:
    """Sizes after pruning: layers, heads and feed-forward neurons per layer, rank of the word embeddings."""

    layers: int
    heads: int
    ffn: int
    rank: int

    @classmethod
    def of(cls, shape: ModelShape) -> "Sizes":
        return cls(shape.layers, shape.heads, shape.ffn, shape.rank or shape.width)

    def __str__(self) -> str:
        return f"{self.layers} layers, {self.heads} heads, ffn {self.ffn}, embeddings of rank {self.rank}"

    def override(self, given: Mapping[str, Any]) -> "Sizes":
        """Return these sizes, each replaced by its value in `given` unless that is None."""
        return replace(self, **{name: given[name] for name in vars(self) if given.get(name) is not None})

    def pruned_shape(self, shape: ModelShape) -> ModelShape:
        """Return the shape of a model of this shape after pruning to these sizes."""
        width = shape.attention_width // shape.heads
        return replace(
            shape,
            layers=self.layers,
            heads=self.heads,
            ffn=self.ffn,
            head_width=0 if self.heads * width == shape.width else width,
            rank=0 if self.rank == shape.width else self.rank,
        )

    def errors(self, shape: ModelShape) -> Iterable[str]:
        """Yield an error message for each size to which a model of this shape cannot be pruned."""
        if self == Sizes.of(shape):
            yield "the sizes equal those of the model: give --layers, --heads, --ffn or --rank."
        for name, there in vars(Sizes.of(shape)).items():
            wanted, flag = getattr(self, name), f"--{name}"
            if not 1 <= wanted <= there:
                yield f"{flag} {wanted}, but the model has {there}: give 1 to {there}."


def scored_names(layers: int) -> list[str]:
    """Return the names of the parameters whose importance is measured."""
    return [f"{SENTENCE_ENCODER}layers.{layer}.{name}" for layer in range(layers) for name in SCORED]


def scored_weights_hash(weights: Mapping[str, Tensor], layers: int) -> str:
    """Return the sha256 of the parameters whose importance is measured; it identifies the model."""
    digest = hashlib.sha256()
    for name in scored_names(layers):
        digest.update(weights[name].contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def head_scores(out_proj: Tensor, heads: int) -> Tensor:
    """Return the importance of each head, [A]: the sum over its columns of the output projection, [H, A d]."""
    return out_proj.unflatten(1, (heads, -1)).sum(dim=(0, 2))


def neuron_scores(fc1: Tensor, fc2: Tensor) -> Tensor:
    """Return the importance of each neuron, [F]: the sum over both matrices, [F, H] and [H, F]."""
    return fc1.sum(dim=1) + fc2.sum(dim=0)


def highest(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` highest scores, ascending; of equal scores, the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def factorise(embeddings: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors [V, rank] and [H, rank] of the best approximation of the embeddings [V, H]."""
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    left, singular, right = torch.linalg.svd(embeddings, full_matrices=False)
    return left[:, :rank] * singular[:rank], right[:rank].T.contiguous()


def prune(
    weights: Mapping[str, Tensor], shape: ModelShape, importance: Mapping[str, Tensor], sizes: Sizes
) -> tuple[dict[str, Tensor], ModelShape]:
    """Return weights and shape of the pruned model: the first layers with their most important heads and neurons.

    weights     weights of a model of this shape
    importance  importance of its parameters named by `scored_names`
    """
    kept = student_state_dict(weights, range(sizes.layers))
    for layer in range(sizes.layers):
        prefix = f"{SENTENCE_ENCODER}layers.{layer}."
        own = {name.removeprefix(prefix): v for name, v in kept.items() if name.startswith(prefix)}
        scores = {name: importance[prefix + name] for name in SCORED}
        heads = highest(head_scores(scores[SCORED[0]], shape.heads), sizes.heads)
        neurons = highest(neuron_scores(scores[SCORED[1]], scores[SCORED[2]]), sizes.ffn)
        kept |= {prefix + name: v for name, v in _pruned_layer(own, heads, neurons, shape.heads).items()}

    smaller = sizes.pruned_shape(shape)
    if smaller.rank != shape.rank:
        words = weights[WORDS] if not shape.rank else weights[WORDS] @ weights[PROJECTION].T
        kept[WORDS], kept[PROJECTION] = factorise(words, smaller.rank)
    if LM_HEAD + "bias" in kept and smaller.rank:
        kept[LM_HEAD + "weight"], kept[LM_HEAD + "projection"] = kept[WORDS], kept[PROJECTION]
    return kept, smaller


def _pruned_layer(layer: Mapping[str, Tensor], heads: Tensor, neurons: Tensor, of: int) -> dict[str, Tensor]:
    """Return a layer's parameters with only these heads (of `of` heads) and neurons."""
    narrow = dict(layer)
    for name in ("q_proj", "k_proj", "v_proj"):
        for kind in ("weight", "bias"):
            value = layer[f"self_attn.{name}.{kind}"]
            narrow[f"self_attn.{name}.{kind}"] = value.unflatten(0, (of, -1))[heads].flatten(0, 1)
    value = layer["self_attn.out_proj.weight"]
    narrow["self_attn.out_proj.weight"] = value.unflatten(1, (of, -1))[:, heads].flatten(1, 2)
    narrow["fc1.weight"], narrow["fc1.bias"] = layer["fc1.weight"][neurons], layer["fc1.bias"][neurons]
    narrow["fc2.weight"] = layer["fc2.weight"][:, neurons]
    return narrow
