"""Smaller models out of a large one, by the importance of its weights (ROSITA).

Paper: Liu et al., ROSITA: Refined BERT Compression with Integrated Techniques, AAAI 2021.

Shapes: H width, A heads, d dimensions of one, F feed-forward neurons, V words.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..layers import student_state_dict
from .shape import SENTENCE_ENCODER, ModelShape

LM_HEAD = "encoder.lm_head."
WORDS, PROJECTION = SENTENCE_ENCODER + "embed_tokens.weight", SENTENCE_ENCODER + "embed_projection.weight"

# Of each layer, what decides which heads and neurons stay.
SCORED = ("self_attn.out_proj.weight", "fc1.weight", "fc2.weight")


@dataclass(frozen=True)
class Sizes:
    """How much stays: layers, heads and feed-forward neurons of each, dimensions of the word embeddings."""

    layers: int
    heads: int
    ffn: int
    rank: int

    @classmethod
    def of(cls, shape: ModelShape) -> "Sizes":
        return cls(shape.layers, shape.heads, shape.ffn, shape.rank or shape.width)

    def __str__(self) -> str:
        return f"{self.layers} layers, {self.heads} heads, ffn {self.ffn}, embeddings of rank {self.rank}"

    def but(self, given: Mapping[str, Any]) -> "Sizes":
        """The same but for those that are given by name, and not None; what else is given counts for nothing."""
        return Sizes(**{name: given.get(name) or size for name, size in vars(self).items()})

    def shrunk(self, shape: ModelShape) -> ModelShape:
        """The shape of a model of that shape that is brought to these sizes."""
        width = shape.attention_width // shape.heads
        return replace(
            shape,
            layers=self.layers,
            heads=self.heads,
            ffn=self.ffn,
            head_width=0 if self.heads * width == shape.width else width,
            rank=0 if self.rank == shape.width else self.rank,
        )

    def problems(self, shape: ModelShape) -> Iterable[str]:
        """Why a model of this shape cannot be brought to these sizes: one sentence each."""
        if self == Sizes.of(shape):
            yield "nothing is to be pruned: give --layers, --heads, --ffn or --rank."
        for name, there in vars(Sizes.of(shape)).items():
            wanted, flag = getattr(self, name), f"--{name}"
            if not 1 <= wanted <= there:
                yield f"{flag} {wanted}, but the model has {there}: give 1 to {there}."


def scored(layers: int) -> list[str]:
    """The parameters whose importance is measured."""
    return [f"{SENTENCE_ENCODER}layers.{layer}.{name}" for layer in range(layers) for name in SCORED]


def fingerprint(weights: Mapping[str, Tensor], layers: int) -> str:
    """Tells the models apart that importance was measured of."""
    digest = hashlib.sha256()
    for name in scored(layers):
        digest.update(weights[name].contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def head_scores(out_proj: Tensor, heads: int) -> Tensor:
    """Importance of each head, [A]: the sum over its columns of that of the attention's output, [H, A d]."""
    return out_proj.unflatten(1, (heads, -1)).sum(dim=(0, 2))


def neuron_scores(fc1: Tensor, fc2: Tensor) -> Tensor:
    """Importance of each neuron, [F]: the sum over both matrices, [F, H] and [H, F]."""
    return fc1.sum(dim=1) + fc2.sum(dim=0)


def best(scores: Tensor, count: int) -> Tensor:
    """Numbers of the `count` highest scores, ascending; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def factorised(embeddings: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """V x rank and H x rank, whose product is the nearest of that rank to the embeddings [V, H]."""
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    left, singular, right = torch.linalg.svd(embeddings, full_matrices=False)
    return left[:, :rank] * singular[:rank], right[:rank].T.contiguous()


def pruned(
    weights: Mapping[str, Tensor], shape: ModelShape, importance: Mapping[str, Tensor], sizes: Sizes
) -> tuple[dict[str, Tensor], ModelShape]:
    """The first layers, each with its most important heads and neurons, and its shape; heads stay whole.

    weights     of a model of that shape
    importance  of its `scored` parameters
    """
    begin = SENTENCE_ENCODER + "layers."
    kept = student_state_dict(weights, range(sizes.layers))
    for layer in range(sizes.layers):
        prefix = f"{begin}{layer}."
        own = {name.removeprefix(prefix): v for name, v in kept.items() if name.startswith(prefix)}
        scores = {name: importance[prefix + name] for name in SCORED}
        heads = best(head_scores(scores[SCORED[0]], shape.heads), sizes.heads)
        neurons = best(neuron_scores(scores[SCORED[1]], scores[SCORED[2]]), sizes.ffn)
        kept |= {prefix + name: v for name, v in _narrowed(own, heads, neurons, shape.heads).items()}

    smaller = sizes.shrunk(shape)
    if smaller.rank != shape.rank:
        words = weights[WORDS] if not shape.rank else weights[WORDS] @ weights[PROJECTION].T
        kept[WORDS], kept[PROJECTION] = factorised(words, smaller.rank)
    if LM_HEAD + "bias" in kept and smaller.rank:
        kept[LM_HEAD + "weight"], kept[LM_HEAD + "projection"] = kept[WORDS], kept[PROJECTION]
    return kept, smaller


def _narrowed(layer: Mapping[str, Tensor], heads: Tensor, neurons: Tensor, of: int) -> dict[str, Tensor]:
    """One layer's parameters with these heads, of so many, and these neurons."""
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
