"""Loss functions of two tensors and a mask, in pure torch: one number per sentence.

Shapes: B sentences, T tokens, H width, A heads, d = H / A, R relation heads, C classes.
s is the student's tensor, t the teacher's. Every loss returns [B] in float32, or in float64 if an
input is float64.

`mask` [B, T] is True at real tokens, which need not be a prefix. Values at padded positions, even NaN
and infinity, never reach the loss or a gradient. `LayerAttention` and `Gates` compute targets and take
no mask, so their inputs must be finite. Nothing here copies a tensor to the host, except `CRD` with several
workers, which copies a batch size. `CRD` keeps a memory bank, so its loss depends on earlier batches.
"""

from .aggregation import FORMS, REACHES, Gates, LayerAttention
from .attention import attention_kl, attention_mse
from .chunks import in_chunks
from .compression import LENGTHS, WIDTHS, Compressed, Compression, compress, compressed_mse
from .contrastive import CRD, Negatives
from .hidden import Combine, Widen, hidden_mse, patience, token_mse
from .logits import cross_entropy, kd, logits_mse, soft_cross_entropy, squared_error
from .pearson import pearson_attention
from .relation import relation_heads, relation_kl
from .score_blocks import Factors

__all__ = [
    "FORMS",
    "LENGTHS",
    "REACHES",
    "WIDTHS",
    "CRD",
    "Combine",
    "Compressed",
    "Compression",
    "Factors",
    "Gates",
    "LayerAttention",
    "Negatives",
    "Widen",
    "attention_kl",
    "attention_mse",
    "compress",
    "compressed_mse",
    "cross_entropy",
    "hidden_mse",
    "in_chunks",
    "kd",
    "logits_mse",
    "patience",
    "pearson_attention",
    "relation_heads",
    "relation_kl",
    "soft_cross_entropy",
    "squared_error",
    "token_mse",
]
