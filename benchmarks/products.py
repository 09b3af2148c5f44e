"""The matrix products that a training step cannot avoid, for `benchmarks.step`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.ours import Setting, heads_of
from fairseq_kd.models.encoder import PAD


class Products:
    """Computes these products for a batch.

    Linear layers of all real tokens: once for the teacher; three times for the student, forward and the gradients of
    inputs and weights. Attention of each sentence: two products, and six for the student. Heads are left out.
    """

    def __init__(self, setting: Setting, batches: Sequence[dict[str, Any]]) -> None:
        self.sides = ((*setting.teacher, False), (*setting.student, True))
        self.dtype = torch.float32 if setting.autocast == "fp32" else torch.bfloat16
        self.device = setting.device
        self.matrices: dict[tuple[int, ...], Tensor] = {}
        self.step = torch.no_grad()(self.compute)
        for batch in batches:  # so that all matrices exist before anything is timed
            self.step(batch)

    def compute(self, batch: dict[str, Any]) -> None:
        """Compute the products of one step."""
        lengths = batch["net_input"]["src_tokens"].ne(PAD).sum(dim=1).tolist()
        rows = sum(lengths)
        for layers, width, trained in self.sides:
            narrow, wide = self._random(rows, width), self._random(rows, 4 * width)
            for _ in range(layers):
                for _ in range(4):
                    self._linear(narrow, narrow, trained)
                self._linear(narrow, wide, trained)
                self._linear(wide, narrow, trained)
                for tokens in lengths:
                    heads = heads_of(width)
                    vectors = self._random(heads, tokens, width // heads)
                    scores = self._random(heads, tokens, tokens)
                    for _ in range(3 if trained else 1):
                        torch.bmm(vectors, vectors.transpose(1, 2))
                        torch.bmm(scores, vectors)

    def _linear(self, x: Tensor, y: Tensor, trained: bool) -> None:
        weight = self._random(y.size(1), x.size(1))
        torch.mm(x, weight.t())
        if trained:
            torch.mm(y, weight)
            torch.mm(y.t(), x)

    def _random(self, *shape: int) -> Tensor:
        if shape not in self.matrices:
            self.matrices[shape] = torch.randn(*shape, device=self.device, dtype=self.dtype)
        return self.matrices[shape]
