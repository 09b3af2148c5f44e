"""A RoBERTa or BERT encoder that returns only the requested signals.

Parameter names equal those of fairseq's RoBERTa, so its checkpoints load without changes. Fairseq's layers keep a
second copy of each matrix for fast inference; these layers do not.

Shapes: B sentences, T tokens, N rows of the packed batch (real tokens and filler, see `Packing`), H width, A heads,
d = H / A, V words.
"""

from collections.abc import Callable
from typing import Any, Optional

import torch
from fairseq.utils import get_activation_fn
from torch import Tensor, nn
from torch.nn import functional as F

from ..signals import Signals, Wanted
from .attention import packed_attention
from .dropout import Dropout
from .shape import ModelShape
from .unpad import Packing, filler

# fairseq's dictionary: learned positions start after the padding index.
PAD, SEPARATOR = 1, 2


class SelfAttention(nn.Module):
    """Multi-head self-attention; no attention scores are kept."""

    def __init__(self, shape: ModelShape, dropout: float) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = dropout
        self.q_proj = nn.Linear(shape.width, shape.attention_width)
        self.k_proj = nn.Linear(shape.width, shape.attention_width)
        self.v_proj = nn.Linear(shape.width, shape.attention_width)
        self.out_proj = nn.Linear(shape.attention_width, shape.width)

    def project(self, x: Tensor, values: bool) -> Tensor:
        """Return queries, keys and values, if wanted, of x [N, H] as one matrix product: [N, 3 A d] or [N, 2 A d]."""
        parts = [self.q_proj, self.k_proj] + ([self.v_proj] if values else [])
        weight, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
        return F.linear(x, weight, bias)

    def split(self, qkv: Tensor, packing: Packing) -> tuple[Tensor, ...]:
        """Return queries, keys and values, if computed, of the padded batch, each [B, A, T, d]."""
        width = self.q_proj.out_features // self.heads
        return packing.unpack(qkv).unflatten(-1, (-1, self.heads, width)).permute(2, 0, 3, 1, 4).unbind()

    def attend(self, qkv: Tensor, key_bias: Optional[Tensor], packing: Packing) -> Tensor:
        """Return the attention output over real keys, [N, H]."""
        dropout = self.dropout if self.training else 0.0
        if packing.lengths is not None:
            return self.out_proj(packed_attention(qkv, packing.lengths, self.heads, dropout))
        q, k, v = self.split(qkv, packing)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=key_bias, dropout_p=dropout)
        return self.out_proj(packing.pack(x.transpose(1, 2).flatten(2)))


class EncoderLayer(nn.Module):
    """One Transformer layer: x = norm(x + f(x)) twice, or with pre-LayerNorm x = x + f(norm(x))."""

    def __init__(self, shape: ModelShape, cfg: Any) -> None:
        super().__init__()
        self.pre_layernorm = shape.pre_layernorm
        self.self_attn = SelfAttention(shape, cfg.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width, eps=shape.layernorm_eps)
        self.fc1 = nn.Linear(shape.width, shape.ffn)
        self.fc2 = nn.Linear(shape.ffn, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width, eps=shape.layernorm_eps)
        self.activation = activation(shape.activation)
        self.dropout = Dropout(cfg.dropout)
        self.activation_dropout = Dropout(cfg.activation_dropout)

    def forward(
        self,
        x: Tensor,
        key_bias: Optional[Tensor],
        packing: Packing,
        number: int,
        wanted: Wanted,
        signals: Signals,
        run_fully: bool,
    ) -> Tensor:
        """Return the output of layer `number` for x [N, H]; store its wanted signals in `signals`."""
        whole = run_fully or number in wanted.projections
        qkv = self.self_attn.project(self.self_attn_layer_norm(x) if self.pre_layernorm else x, whole)

        if number in wanted.projections | wanted.attention:
            q, k, *v = self.self_attn.split(qkv, packing)
            if number in wanted.attention:
                signals.attention_factors[number] = q, k
            if number in wanted.projections:
                signals.queries[number], signals.keys[number], (signals.values[number],) = q, k, v

        if not run_fully:
            return x

        mixed = self.self_attn.attend(qkv, key_bias, packing)
        x = x + self.dropout(mixed)
        if self.pre_layernorm:
            return x + self.dropout(self.feed_forward(self.final_layer_norm(x)))
        x = self.self_attn_layer_norm(x)
        return self.final_layer_norm(x + self.dropout(self.feed_forward(x)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward block: [N, H] -> [N, H]."""
        return self.fc2(self.activation_dropout(self.activation(self.fc1(x))))


class SentenceEncoder(nn.Module):
    """Embeddings and layers."""

    def __init__(self, shape: ModelShape, words: int, cfg: Any) -> None:
        super().__init__()
        self.layer_count = shape.layers
        self.embed_tokens = nn.Embedding(words, shape.rank or shape.width, PAD)
        self.embed_projection = nn.Linear(shape.rank, shape.width, bias=False) if shape.rank else None
        self.embed_positions = nn.Embedding(shape.max_positions + PAD + 1, shape.width, PAD)
        self.embed_segments = nn.Embedding(shape.segments, shape.width) if shape.segments else None
        norm = nn.LayerNorm(shape.width, eps=shape.layernorm_eps)
        self.layernorm_embedding = nn.Identity() if shape.bare_embeddings else norm
        self.dropout = Dropout(cfg.dropout)
        self.layers = nn.ModuleList(EncoderLayer(shape, cfg) for _ in range(shape.layers))
        # With pre-LayerNorm, the output of the last layer is not normalised.
        self.layer_norm = nn.LayerNorm(shape.width, eps=shape.layernorm_eps) if shape.pre_layernorm else None

    def forward(
        self,
        tokens: Tensor,
        wanted: Wanted,
        padded: bool = True,
        real: Optional[Tensor] = None,
        one_segment: bool = False,
    ) -> tuple[Tensor, Signals]:
        """Run as many layers as `wanted` needs.

        tokens  [B, T]  word indices
        padded  whether any sentence may be shorter than T
        real    [R]     positions of the real tokens in the flattened batch (see `Packing`)
        one_segment     True for running text, where a separator does not begin a second segment

        Returns the input of the heads, [B, T, H], and the signals except the logits. The input of the heads is the output
        of the last executed layer, normalised with pre-LayerNorm. Hidden states are 0 at padded positions.
        """
        mask = tokens.ne(PAD)
        segments = None
        if self.embed_segments is not None:
            segments = torch.zeros_like(tokens) if one_segment else segment_ids(tokens)
        return self.run(tokens, mask, segments, Packing.of(mask, real, padded), wanted)

    def run(
        self, tokens: Tensor, mask: Tensor, segments: Optional[Tensor], packing: Packing, wanted: Wanted
    ) -> tuple[Tensor, Signals]:
        """Return the same as `forward`.

        mask      [B, T]  True = real token
        segments  [B, T]  token types; None without segment embeddings
        """
        signals = Signals(mask)
        x = self.embed(tokens, mask, segments, packing)
        if 0 in wanted.states:
            signals.states[0] = packing.unpack(x)

        key_bias = packing.key_bias(mask, x.dtype)
        for number, layer in enumerate(self.layers[: wanted.depth(self.layer_count)], start=1):
            run_fully = wanted.runs_fully(number, self.layer_count)
            x = layer(x, key_bias, packing, number, wanted, signals, run_fully)
            if number in wanted.states:
                signals.states[number] = packing.unpack(x)

        if self.layer_norm is not None and wanted.logits:
            x = self.layer_norm(x)
        return packing.unpack(x), signals

    def embed(self, tokens: Tensor, mask: Tensor, segments: Optional[Tensor], packing: Packing) -> Tensor:
        """Return the sum of word, position and segment embeddings (if any), [N, H]."""
        positions = mask.cumsum(dim=1, dtype=torch.long) * mask + PAD
        x = self.embed_tokens(packing.pack(tokens))
        if self.embed_projection is not None:
            x = self.embed_projection(x)
        x = x + self.embed_positions(packing.pack(positions))
        if self.embed_segments is not None:
            x = x + self.embed_segments(packing.pack(segments))
        return self.dropout(self.layernorm_embedding(x))


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return fairseq's activation function of that name.

    fairseq's gelu converts its input, the largest tensor of a layer, to fp32 and stores it for the gradient. F.gelu
    returns the same values without this copy.
    """
    return F.gelu if name == "gelu" else get_activation_fn(name)


def segment_ids(tokens: Tensor) -> Tensor:
    """Return BERT's token types [B, T]: 0 up to the first separator, 1 after it."""
    separators = tokens.eq(SEPARATOR)
    before = separators.cumsum(dim=1) - separators.long()
    return (before * tokens.ne(PAD)).clamp(max=1)


class LMHead(nn.Module):
    """Masked-LM head; its output matrix is tied to the embeddings, or to both of their factors.

    weight      [V, H], or the first factor [V, rank]
    projection  the second factor [H, rank]; None without factors
    """

    def __init__(
        self, shape: ModelShape, weight: nn.Parameter, projection: Optional[nn.Parameter] = None
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.width)
        self.activation = activation(shape.activation)
        self.layer_norm = nn.LayerNorm(shape.width, eps=shape.layernorm_eps)
        self.weight = weight
        self.projection = projection
        self.bias = nn.Parameter(torch.zeros(self.weight.size(0)))

    def forward(self, features: Tensor) -> Tensor:
        """Return word scores: [.., H] -> [.., V]. Adds filler rows internally, see `unpad`."""
        x = features.flatten(0, -2)
        words = len(x)
        x = torch.cat((x, x[:1].expand(filler(words), -1)))
        x = self.layer_norm(self.activation(self.dense(x)))
        if self.projection is not None:
            x = x @ self.projection
        return F.linear(x, self.weight, self.bias)[:words].unflatten(0, features.shape[:-1])


class ClassificationHead(nn.Module):
    """Class scores of position 0: dropout, dense, activation, dropout, projection."""

    def __init__(self, shape: ModelShape, classes: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.width)
        self.activation = activation(shape.pooler_activation)
        self.dropout = Dropout(dropout)
        self.out_proj = nn.Linear(shape.width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return class scores: [B, T, H] -> [B, C]."""
        x = self.activation(self.dense(self.dropout(features[:, 0])))
        return self.out_proj(self.dropout(x))
