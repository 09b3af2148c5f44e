"""Contrastive representation distillation (CRD), with a memory bank of all training sentences."""

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32

EPS = 1e-7


class CRD(nn.Module):
    """Contrasts student and teacher: a sentence's two vectors match, those of two sentences with other labels do not.

        f         = projection of a side's vector to F dimensions, scaled to length 1
        P_j       = exp(<other side's bank[j], f> / temperature) / Z of this side
        loss_side = - log P_b / (P_b + K/N + eps) - sum over negatives j of log (K/N) / (P_j + K/N + eps)
        L_b       = (loss_student + loss_teacher) / 2
        bank[b]  <- momentum bank[b] + (1 - momentum) f, scaled to length 1, after use

    Z is N times the mean of exp(..) in the first batch, over all workers. It is then fixed, and no
    gradient flows through it. Banks are initialised uniformly in +-1 / sqrt(F / 3). Banks and Z change
    only in training mode, from the features of all workers, so they are equal on every worker. They
    stay float32 when the module is converted to fp16 or bf16, because Z overflows fp16.

    Most losses here depend on one sentence only. This one depends on the sentences before it, too.
    (The other exception is the batch term of `pearson_attention`.)

    Paper: Tian et al., Contrastive Representation Distillation, ICLR 2020.
    """

    def __init__(
        self,
        num_examples: int,
        student_dim: int,
        teacher_dim: int,
        feature_dim: int = 128,
        negatives: int = 100,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        """Create banks [N, F] and projections. N = num_examples, F = feature_dim, K = negatives."""
        super().__init__()
        self.num_examples = num_examples
        self.feature_dim = feature_dim
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.student_projection = nn.Linear(student_dim, feature_dim)
        self.teacher_projection = nn.Linear(teacher_dim, feature_dim)

        bound = 1 / math.sqrt(feature_dim / 3)
        self.register_buffer("student_bank", torch.empty(num_examples, feature_dim).uniform_(-bound, bound))
        self.register_buffer("teacher_bank", torch.empty(num_examples, feature_dim).uniform_(-bound, bound))
        # Z of the student's and the teacher's side. 0 = not set yet: a mean of exp(..) is never 0.
        self.register_buffer("normalizers", torch.zeros(2))

    def forward(self, student: Tensor, teacher: Tensor, index: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of each sentence; in training mode, update the banks afterwards.

        student    [B, D_s]
        teacher    [B, D_t]
        index      [B]       numbers of the sentences in the training set; -1 does not update the banks
        negatives  [B, K]    numbers of the negative sentences
        Returns [B]. In training mode every worker must call this; batch sizes may differ.
        """
        s, t = self._features(student, teacher)
        keys = torch.cat([index.clamp(min=0)[:, None], negatives], dim=1)  # [B, 1 + K]
        similar = self._similarities(s, self.teacher_bank[keys], t, self.student_bank[keys])

        seen = torch.cat([s, t, _mean_exp(similar)], dim=1).detach()
        if self.training:
            seen, index = _gather(seen, index)
        s_seen, t_seen, means = seen.split([self.feature_dim, self.feature_dim, 2], dim=1)

        known = index >= 0
        normalizers = self._normalizers(means, known)
        if self.training:
            self.normalizers.copy_(torch.where(known.any(), normalizers, self.normalizers))
            self._update_bank(self.student_bank, s_seen, index)
            self._update_bank(self.teacher_bank, t_seen, index)

        own, other = self._terms(similar - normalizers.log()[:, None, None])
        return (own[..., 0] + other[..., 1:].sum(dim=-1)).mean(dim=0)

    def unseen(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of sentences outside the training set, which have no bank entry; change no state.

        The negatives are the sentences of other labels in the same batch; their mean counts K times.
        They are not drawn from the banks, which start as noise and become harder to distinguish: with
        them, the first epoch would have the lowest loss.

        student, teacher  as in `forward`
        labels            [B]
        Returns [B].
        """
        s, t = self._features(student, teacher)
        similar = (s[:, None] * t).sum(dim=-1) / self.temperature  # [B, B]
        similar = torch.stack([similar, similar.T])

        normalizers = self._normalizers(
            _mean_exp(similar).detach(), known=torch.ones_like(labels, dtype=torch.bool)
        )
        own, other = self._terms(similar - normalizers.log()[:, None, None])
        negative = labels[:, None] != labels
        share = negative * (self.negatives / negative.sum(dim=1, keepdim=True).clamp(min=1))
        return (own.diagonal(dim1=1, dim2=2) + (other * share).sum(dim=-1)).mean(dim=0)

    def _features(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of both sides, each [B, F]."""
        features = []
        for projection, vector in ((self.student_projection, student), (self.teacher_projection, teacher)):
            projected = projection(vector.to(projection.weight.dtype))
            features.append(F.normalize(projected.to(at_least_float32(projected)), dim=-1))
        return features[0], features[1]

    def _similarities(self, s: Tensor, s_keys: Tensor, t: Tensor, t_keys: Tensor) -> Tensor:
        """Return <key, f> / temperature of both sides, [2, B, 1 + K]. s, t [B, F]; keys [B, 1 + K, F]."""
        # Not a matrix product, because autocast would round it.
        sides = [(keys * f[:, None]).sum(dim=-1) for f, keys in ((s, s_keys), (t, t_keys))]
        return torch.stack(sides) / self.temperature

    def _normalizers(self, means: Tensor, known: Tensor) -> Tensor:
        """Return Z of both sides, [2]: the stored one, or else that of this batch's known sentences.

        means [R, 2], known [R]. A dummy batch has no known sentences; its Z is not stored.
        """
        counted = known | ~known.any()
        measured = self.num_examples * (means * counted[:, None]).sum(dim=0) / counted.sum()
        return torch.where(self.normalizers == 0, measured, self.normalizers.to(measured.dtype))

    def _terms(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """Return, from log P, -log of the probability that a pair is positive, and that it is negative."""
        noise = self.negatives / self.num_examples
        log_total = (log_p.exp() + (noise + EPS)).log()
        return log_total - log_p, log_total - math.log(noise)

    @torch.no_grad()
    def _update_bank(self, bank: Tensor, features: Tensor, index: Tensor) -> None:
        """Move the rows `index` [R] of the bank towards features [R, F]; index -1 changes no row."""
        place = index.clamp(min=0)
        old = bank[place]
        new = F.normalize(self.momentum * old + (1 - self.momentum) * features.to(old.dtype), dim=-1)
        # Adding 0 skips rows without a synchronisation with the device.
        bank.index_add_(0, place, torch.where((index >= 0)[:, None], new - old, 0.0))

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> "CRD":
        """Apply `.half()`, `.to(..)` and the like as torch does, but keep buffers in float32 or better."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, *args, **kwargs)
        for name, buffer in before.items():
            after = getattr(self, name)
            setattr(self, name, buffer.to(after.device, at_least_float32(after)))
        return self


class Negatives(nn.Module):
    """Draws negatives, training sentences of another label, on the device without synchronisation.

    The pool holds all sentences of other labels. It is divided into K parts of equal size, from a random
    start, and one sentence is drawn from each part. So all K differ, and each sentence of the pool has
    the same probability. If the smallest pool has fewer than K sentences, all draws are with replacement.
    """

    def __init__(self, labels: Tensor, classes: int, count: int) -> None:
        """Prepare the pools. labels [N], 0..classes-1, of at least two classes, on the CPU; K = count."""
        super().__init__()
        self.count = count
        members = torch.bincount(labels, minlength=classes)
        pools = len(labels) - members
        self.replacement = int(pools.min()) < count
        # Sentences ordered by label: a pool is all of them except one contiguous range.
        self.register_buffer("order", labels.argsort(stable=True), persistent=False)
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("start", members.cumsum(0) - members, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Return the numbers of K training sentences for each of the labels [B], as [B, K]."""
        members, start = self.members[labels][:, None], self.start[labels][:, None]
        rank = self._ranks(len(self.order) - members)
        return self.order[torch.where(rank < start, rank, rank + members)]

    def _ranks(self, pool: Tensor) -> Tensor:
        """Return K random numbers below each pool size: [B, 1] -> [B, K]."""
        if self.replacement:
            return _random_below(pool.expand(-1, self.count))
        edges = torch.arange(self.count + 1, device=pool.device) * pool // self.count  # [B, K + 1]
        parts = edges.diff(dim=1)
        return (_random_below(pool) + edges[:, :-1] + _random_below(parts)) % pool


def _random_below(limit: Tensor) -> Tensor:
    """Return random integers 0 .. limit - 1, in the shape of `limit`."""
    return torch.randint(1 << 62, limit.shape, device=limit.device) % limit


def _mean_exp(similar: Tensor) -> Tensor:
    """Average exp over the last axis: [2, B, 1 + K] -> [B, 2]."""
    return similar.exp().mean(dim=-1).T


def _gather(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Gather rows [B, W] and their index [B] from all workers, in the same order on each.

    Smaller batches are padded with rows of 0 and index -1. With several workers, the common size is
    the only number copied to the host.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows, index

    size = torch.tensor(len(rows), device=rows.device)
    dist.all_reduce(size, op=dist.ReduceOp.MAX)
    missing = int(size) - len(rows)
    return (
        _all_gather(F.pad(rows, (0, 0, 0, missing))),
        _all_gather(F.pad(index, (0, missing), value=-1)),
    )


def _all_gather(tensor: Tensor) -> Tensor:
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, tensor.contiguous())
    return torch.cat(gathered)
