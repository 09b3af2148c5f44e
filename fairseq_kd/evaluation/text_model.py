"""A trained model that labels tokenised text, without binarized data."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from fairseq.data import Dictionary

from ..data.sentences import BOS, EOS
from ..data.sequences import encoder_input
from ..models.checkpoint import Checkpoint
from .inference import Inference
from .loaded_model import classifier


@dataclass(frozen=True)
class Labelled:
    """What a model predicts for a text.

    name           class name; a number for regression
    probabilities  of each class, in the order of the logits; empty for regression
    """

    name: str | float
    probabilities: tuple[float, ...] = ()


class TextModel:
    """Computes class probabilities, or scores, of sentences and pairs.

    checkpoint   with a trained classification head
    symbols      vocabulary, without the special tokens
    labels       class names in the order of the logits; () for regression
    score_scale  factor from the output to the task's score (regression)

    Computes in the precision of the run's validations. Raises CannotStart without a trained head.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        symbols: Sequence[str],
        labels: Sequence[str],
        score_scale: float,
        device: torch.device,
    ) -> None:
        dictionary = Dictionary()
        for symbol in [*symbols, "<mask>"]:
            dictionary.add_symbol(symbol)
        self.shape, self.labels, self.score_scale = checkpoint.shape, tuple(labels), score_scale
        self.inference = Inference(checkpoint, dictionary, classifier(checkpoint), device)

    def max_text_tokens(self, pairs: bool, longest: int) -> int:
        """Return the maximum number of tokens of a sentence, or of both sentences of a pair, without special tokens.

        longest  maximum tokens of an input, special tokens included
        """
        return longest - 2 - pairs * (1 + (self.shape.pair_format == "roberta"))

    def predict(self, texts: Sequence[Sequence[Sequence[int]]], batch_size: int) -> list[Labelled]:
        """Return the prediction for each text; batches have similar lengths, for little padding.

        texts       for each text, the token indices of its one or two sentences, without special tokens
        batch_size  texts per batch
        """
        rows = [joined(sentences, self.shape.pair_format) for sentences in texts]
        logits = torch.zeros(len(rows), len(self.labels) or 1)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), batch_size):
            batch = order[start : start + batch_size]
            logits[batch] = self.inference.logits(encoder_input([rows[row] for row in batch]))

        if not self.labels:
            return [Labelled(score * self.score_scale) for score in logits[:, 0].tolist()]
        best = logits.argmax(dim=1).tolist()
        return [
            Labelled(self.labels[number], tuple(row))
            for number, row in zip(best, logits.softmax(dim=1).tolist(), strict=True)
        ]


def joined(sentences: Sequence[Sequence[int]], pair_format: str) -> torch.Tensor:
    """Return the encoder's input [T] of a text: `<s> a </s>`, or a pair in the format (see `SentenceDataset`).

    sentences  token indices of one or two sentences, without special tokens
    """
    between = [EOS] if pair_format == "roberta" else []
    tokens = [BOS]
    for number, sentence in enumerate(sentences):
        tokens += [*(between if number else []), *sentence, EOS]
    return torch.tensor(tokens)
