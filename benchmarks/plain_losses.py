"""The losses of the methods, written plainly on padded tensors, for other ways of training in `benchmarks.step`."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

Pairs = dict[str, list[tuple[int, int]]]

# Method -> its terms, which are keys of `TERMS`.
METHODS = {
    "kd": (),
    "hidden_mse_learn": ("hidden",),
    "att_kl_learn": ("attention_kl",),
    "att_mse_learn": ("attention_mse",),
    "att_kl_hidden_mse": ("attention_kl", "hidden"),
    "att_mse_hidden_mse": ("attention_mse", "hidden"),
    "minilm": ("attention_kl", "values"),
    "minilm_v2": ("queries", "keys", "values"),
}


@dataclass
class Outputs:
    """What a forward pass of a padded batch returns.

    logits  [B, C]
    states  of each layer from 0, the embedding output, [B, T, H]
    queries, keys, values  of each layer from 1, [B, A, T, d]; scores  before mask and softmax, [B, A, T, T]
    """

    logits: Tensor
    states: list[Tensor]
    queries: dict[int, Tensor]
    keys: dict[int, Tensor]
    values: dict[int, Tensor]
    scores: dict[int, Tensor]


def loss(method: str, pairs: Pairs, s: Outputs, t: Outputs, mask: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of 0.5 labels + 0.5 logits + the method's terms.

    pairs  "states" and "layers" -> [(student, teacher)]
    mask   [B, T], True = real token
    """
    temperature = 2.0
    soft = F.kl_div(
        F.log_softmax(s.logits / temperature, dim=-1),
        F.log_softmax(t.logits / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    total = 0.5 * F.cross_entropy(s.logits, labels) + 0.5 * temperature**2 * soft
    for name in METHODS[method]:
        total = total + _term(name, pairs, s, t, mask)
    return total


def _term(name: str, pairs: Pairs, s: Outputs, t: Outputs, mask: Tensor) -> Tensor:
    if name == "hidden":
        return sum(_hidden_mse(s.states[i], t.states[j], mask) for i, j in pairs["states"])
    if name == "attention_mse":
        return sum(_score_mse(s.scores[i], t.scores[j], mask) for i, j in pairs["layers"])
    if name == "attention_kl":
        return sum(_score_kl(s.scores[i], t.scores[j], mask) for i, j in pairs["layers"])
    mine, theirs = getattr(s, name), getattr(t, name)
    return sum(_score_kl(_relation(mine[i]), _relation(theirs[j]), mask) for i, j in pairs["layers"])


def _hidden_mse(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    squares = (s - t).square().mean(dim=-1) * mask
    return (squares.sum(dim=1) / mask.sum(dim=1)).mean()


def _score_mse(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    both = mask[:, None, :, None] * mask[:, None, None, :]
    squares = ((s - t).square() * both).sum(dim=(2, 3)).mean(dim=1)
    return (squares / mask.sum(dim=1).square()).mean()


def _score_kl(s: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    keys = ~mask[:, None, None, :]
    log_s = F.log_softmax(s.masked_fill(keys, -1e9), dim=-1)
    log_t = F.log_softmax(t.masked_fill(keys, -1e9), dim=-1)
    kl = F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=-1).mean(dim=1)  # [B, T]
    return ((kl * mask).sum(dim=1) / mask.sum(dim=1)).mean()


def _relation(x: Tensor) -> Tensor:
    return x @ x.transpose(-1, -2) / x.size(-1) ** 0.5
