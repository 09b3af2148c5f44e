"""Sizes of an encoder, read from a model config or from weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

# Prefixes of parameter names.
SENTENCE_ENCODER = "encoder.sentence_encoder."
LM_HEAD = "encoder.lm_head."


@dataclass(frozen=True)
class ModelShape:
    """Sizes and other settings of an encoder.

    segments         number of segment embeddings; 0 for RoBERTa, 2 for BERT
    pair_format      separators between two sentences: roberta (2) or bert (1)
    bare_embeddings  whether there is no LayerNorm after the embeddings
    head_width       dimensions of a head if heads were pruned; 0 means width / heads
    rank             rank of factorised word embeddings, V x rank times rank x width; 0 means V x width
    """

    layers: int
    width: int
    ffn: int
    heads: int
    activation: str = "gelu"
    pooler_activation: str = "tanh"
    max_positions: int = 512
    layernorm_eps: float = 1e-5
    segments: int = 0
    pair_format: str = "roberta"
    pre_layernorm: bool = False
    bare_embeddings: bool = False
    head_width: int = 0
    rank: int = 0

    def __str__(self) -> str:
        heads = f"{self.heads} heads" + (f" of {self.head_width}" if self.head_width else "")
        sizes = f"{self.layers} layers, width {self.width}, {heads}, ffn {self.ffn}"
        return sizes + (f", embeddings of rank {self.rank}" if self.rank else "")

    @property
    def attention_width(self) -> int:
        """Total dimensions of all heads of a layer."""
        return self.heads * self.head_width if self.head_width else self.width

    def config(self) -> dict[str, Any]:
        """Return the shape as fields of the model config."""
        return {CONFIG_NAMES[name]: value for name, value in asdict(self).items()}


CONFIG_NAMES = {
    "layers": "encoder_layers",
    "width": "encoder_embed_dim",
    "ffn": "encoder_ffn_embed_dim",
    "heads": "encoder_attention_heads",
    "activation": "activation_fn",
    "pooler_activation": "pooler_activation_fn",
    "max_positions": "max_positions",
    "layernorm_eps": "layernorm_eps",
    "segments": "segments",
    "pair_format": "pair_format",
    "pre_layernorm": "encoder_normalize_before",
    "bare_embeddings": "no_layernorm_embedding",
    "head_width": "encoder_head_dim",
    "rank": "embedding_rank",
}


def shape_of(config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> ModelShape:
    """Return the shape of a checkpoint: sizes from its weights, the rest from its model config.

    config      model config of stock fairseq or of this package
    state_dict  weights

    Raises KeyError if the weights are not those of a RoBERTa-like encoder.
    """
    words = state_dict[SENTENCE_ENCODER + "embed_tokens.weight"]
    positions = state_dict[SENTENCE_ENCODER + "embed_positions.weight"]
    projection = state_dict.get(SENTENCE_ENCODER + "embed_projection.weight")
    segments = state_dict.get(SENTENCE_ENCODER + "embed_segments.weight")
    prefix = SENTENCE_ENCODER + "layers."
    layers = 1 + max(int(name[len(prefix) :].split(".")[0]) for name in state_dict if name.startswith(prefix))

    chosen = {
        field: config[name]
        for field, name in CONFIG_NAMES.items()
        if field in ("activation", "pooler_activation", "layernorm_eps", "pair_format")
        and config.get(name) is not None
    }
    width, heads = positions.size(1), int(config["encoder_attention_heads"])
    attention_width = state_dict[prefix + "0.self_attn.q_proj.weight"].size(0)
    return ModelShape(
        layers=layers,
        width=width,
        ffn=state_dict[prefix + "0.fc1.weight"].size(0),
        heads=heads,
        max_positions=positions.size(0) - 2,
        segments=0 if segments is None else segments.size(0),
        pre_layernorm=bool(config.get("encoder_normalize_before")),
        bare_embeddings=SENTENCE_ENCODER + "layernorm_embedding.weight" not in state_dict,
        head_width=0 if attention_width == width else attention_width // heads,
        rank=0 if projection is None else words.size(1),
        **chosen,
    )
