"""Exports a model to ONNX for onnxruntime, compares the file with torch, and quantizes it.

    inputs   input_ids, attention_mask [B, T]; token_type_ids [B, T] for models with segment embeddings
    output   logits [B, C] of the classification head (C = 1 for regression), else last_hidden_state [B, T, H]

The file works for any number of sentences and any length up to the model's maximum.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from fairseq.data import Dictionary
from torch import Tensor, nn

from ..errors import CannotStart
from ..models.checkpoint import Checkpoint
from ..models.encoder import PAD, SEPARATOR, segment_ids
from ..models.roberta_student import RobertaStudent
from ..models.shape import ModelShape
from ..models.unpad import Packing, attention_bias
from ..signals import Wanted
from ..teachers.live import frozen_model

PACKAGES = ("onnx", "onnxruntime")
OPSET = 17  # the first version with LayerNormalization
TOLERANCE = 1e-4
LIMIT = 2**31 - 2**20  # bytes of a protobuf message, without the graph
SEQUENCES = {0: "batch", 1: "sequence"}
BOS, FIRST_WORD = 0, 4
# Inputs of the comparison: number of sentences, and the length of the longest one as a share of the model's maximum.
BATCHES = ((1, 0.05), (5, 0.3), (3, 1.0))


class OnnxModel(nn.Module):
    """A model with the inputs of transformers.

    model  in eval mode
    head   name of the classification head; None for hidden states
    """

    def __init__(self, model: RobertaStudent, head: Optional[str]) -> None:
        super().__init__()
        self.encoder = model.encoder.sentence_encoder
        self.head = None if head is None else model.classification_heads[head]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Optional[Tensor] = None
    ) -> Tensor:
        """[B, T] each -> [B, C], or [B, T, H] without a head."""
        batch, length = input_ids.shape
        packing = _PaddedBatch(batch, length, None, None)
        mask = attention_mask.bool()
        features, _ = self.encoder.run(input_ids, mask, token_type_ids, packing, Wanted(logits=True))
        return features if self.head is None else self.head(features)


class _PaddedBatch(Packing):
    """Keeps padding: the number of real tokens of the traced batch must not become a constant of the graph."""

    def key_bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        return attention_bias(mask, dtype)


class OnnxExport:
    """Writes a checkpoint as ONNX files and compares them with torch.

    head    classification head to export; None without one
    labels  its class names in the order of the logits, stored in the file's metadata as `class_names`

    Raises CannotStart if `flag` needs a package that is not installed, or if the model is too large.
    """

    def __init__(self, checkpoint: Checkpoint, head: Optional[str], labels: Sequence[str], flag: str) -> None:
        missing = [name for name in PACKAGES if find_spec(name) is None]
        if missing:
            raise CannotStart(
                f"{flag} needs {' and '.join(missing)}, not installed here: run `pip install {' '.join(missing)}`, or "
                "install fairseq-kd with the extra onnx.",
                doing="export",
            )
        size = 4 * sum(value.numel() for value in checkpoint.weights.values())
        if size > LIMIT:
            raise CannotStart(
                f"{flag}: --checkpoint {checkpoint.path} has {size / 1e9:.1f} GB of weights, but an ONNX file has at most "
                f"{LIMIT / 1e9:.1f} GB: export a smaller model.",
                doing="export",
            )
        dictionary = Dictionary()
        for number in range(checkpoint.words - len(dictionary)):
            dictionary.add_symbol(str(number))
        self.model = frozen_model(checkpoint, dictionary, head, "--checkpoint")
        self.path, self.shape, self.words = checkpoint.path, checkpoint.shape, checkpoint.words
        self.head, self.labels, self.flag = head, labels, flag
        self.output = "last_hidden_state" if head is None else "logits"

    def write(self, path: Path) -> float:
        """Write model.onnx to `path`; return the largest difference from torch (see `difference`).

        Raises CannotStart if it is above `TOLERANCE`.
        """
        import onnx

        example = onnx_inputs(next(self._batches()), self.shape)
        axes = SEQUENCES if self.head is None else {0: "batch"}
        with warnings.catch_warnings():
            # torch's newer exporter needs the package onnxscript. The comparison below finds a wrong trace.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
            torch.onnx.export(
                OnnxModel(self.model, self.head).eval(),
                tuple(map(torch.from_numpy, example.values())),
                str(path),
                input_names=[*example],
                output_names=[self.output],
                dynamic_axes={**dict.fromkeys(example, SEQUENCES), self.output: axes},
                opset_version=OPSET,
                dynamo=False,
            )
        written = onnx.load(path)
        onnx.helper.set_model_props(written, {"class_names": json.dumps([*self.labels])})
        onnx.save(written, path)

        found = self.difference(path)
        if not found <= TOLERANCE:  # True also for NaN
            raise CannotStart(
                f"{self.flag}: the outputs of --checkpoint {self.path} differ by up to {found:.1e} between torch and "
                f"onnxruntime, but {TOLERANCE:g} is allowed: use other versions of both.",
                doing="export",
            )
        return found

    def write_int8(self, source: Path, path: Path) -> float:
        """Quantize the weights of `source` to int8 and write them to `path`; return the largest difference from torch."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        enabled = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the library logs each layer
        # Weights have 7 bits, because sums of 8-bit products overflow on CPUs without VNNI.
        quantize_dynamic(source, path, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
        logging.disable(enabled)
        return self.difference(path)

    @torch.no_grad()
    def difference(self, path: Path) -> float:
        """Return the largest difference between a file's outputs and torch's, at real tokens of padded batches."""
        file, found = OnnxFile(path, self.shape), []
        for tokens in self._batches():
            theirs = torch.from_numpy(file.outputs(tokens))
            ours, _ = self.model(tokens, classification_head_name=self.head, features_only=True)
            if self.head is None:
                ours, theirs = ours[tokens.ne(PAD)], theirs[tokens.ne(PAD)]
            found.append((ours - theirs).abs().max())
        return float(torch.stack(found).max())

    def _batches(self) -> Iterator[Tensor]:
        """Yield batches of random words, [B, T], most of them padded, with a separator in the middle of each sentence."""
        generator = torch.Generator().manual_seed(0)
        for sentences, share in BATCHES:
            longest = max(4, round(share * self.shape.max_positions))
            lengths = torch.randint(3, longest + 1, (sentences,), generator=generator)
            lengths[0] = longest
            tokens = torch.randint(FIRST_WORD, self.words, (sentences, longest), generator=generator)
            for row, length in zip(tokens, lengths.tolist(), strict=True):
                row[0], row[length // 2], row[length - 1], row[length:] = BOS, SEPARATOR, SEPARATOR, PAD
            yield tokens


class OnnxFile:
    """An ONNX file of this module, run by onnxruntime on the CPU."""

    def __init__(self, path: Path, shape: ModelShape) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.shape = shape

    def outputs(self, tokens: Tensor) -> np.ndarray:
        """Return logits [B, C], or hidden states [B, T, H], for word indices [B, T]."""
        return self.session.run(None, onnx_inputs(tokens, self.shape))[0]


def onnx_inputs(tokens: Tensor, shape: ModelShape) -> dict[str, np.ndarray]:
    """Return the inputs of an ONNX file by name, for word indices [B, T]."""
    inputs = {"input_ids": tokens, "attention_mask": tokens.ne(PAD).long()}
    if shape.segments:
        inputs["token_type_ids"] = segment_ids(tokens)
    return {name: value.numpy() for name, value in inputs.items()}
