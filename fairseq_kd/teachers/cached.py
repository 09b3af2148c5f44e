"""A teacher whose signals are read from disk, and written there by whoever needs them first."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import torch
from torch import Tensor

from ..data.cache import CachedRows, Identity, records_of
from ..data.cache.files import locked
from ..data.sequences import PAD, SequenceDataset
from ..errors import CannotStart
from ..files import whole
from ..models.encoder import LMHead
from ..signals import Signals, Wanted
from .live import LiveTeacher


class CachedTeacher:
    """Answers from a cache (see `data/cache`) and, where a batch is not there whole, live: then it is written.

    The data sets read it, in their own processes; what they found comes with the batch.

    folder     of the cache, which has been made one of `identity` (Identity.claim)
    wanted     all that is ever asked of the teacher
    precision  of what is stored: fp16, bf16 or fp32
    words      logits are asked for as those of masked words
    load       builds the teacher itself; None where there is none
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        wanted: Wanted,
        precision: str,
        words: bool,
        load: Optional[Callable[[], LiveTeacher]],
    ) -> None:
        self.folder, self.wanted, self.precision = folder, wanted, precision
        self.shape = identity.shape
        self.records = records_of(wanted, self.shape, None if words else identity.num_classes)
        self.asks_words = words and wanted.logits
        self.load = load
        self.splits: dict[str, CachedRows] = {}

    def serve(self, dataset: SequenceDataset, split: str, data: str) -> CachedRows:
        """Lets a data set find the stored signals of its rows; begins files for those that are not there.

        split  its name, and its shard
        data   hash of it

        Raises CannotStart where signals are missing or damaged and there is no teacher, or no room: looked for once.
        """
        rows = self.splits.get(split)
        if rows is None or rows.data != data:
            rows = self.splits[split] = self._begun(dataset, split, data)
        dataset.cached = rows
        return rows

    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """The teacher's signals for a batch, on the batch's device, float32; of a served data set all it is ever asked for.

        They are those that are stored, in the bits that are stored, also where that has only now been done.
        """
        tokens, cached = sample["net_input"]["src_tokens"], sample.get("cached")
        split = self.splits.get(sample.get("cached_rows"))
        if cached is None:
            if self.load is None:
                raise CannotStart(
                    f"--teacher-cache {self.folder} has rows that are damaged: give --teacher, which writes them anew.",
                    doing="go on",
                )
            if split is None:
                return self.live.signals(sample, wanted)
            self.store(sample)
            cached = split.read_batch(sample["id"].tolist(), tokens)
        if isinstance(cached, str):
            raise CannotStart(cached, doing="go on")

        signals = split.restore(cached, tokens.ne(PAD))
        if self.asks_words:
            signals.lm_head = self._word_scores
        return signals

    def store(self, sample: Mapping[str, Any]) -> None:
        """Asks the teacher itself for all that is ever wanted of a batch, and writes it."""
        signals = self.live.signals(sample, self.wanted)
        rows = self.splits[sample["cached_rows"]]
        rows.write(sample["id"].tolist(), sample["net_input"]["src_tokens"], signals)

    def _begun(self, dataset: SequenceDataset, split: str, data: str) -> CachedRows:
        masked = dataset.count_masked if self.asks_words else None
        rows = CachedRows(self.folder / split, self.records, self.precision, dataset.sizes, data, masked)
        missing = [record.name for record in rows.missing()]
        if self.asks_words and not self._lm_head_path.is_file():
            missing.append("lm_head")
        if missing and self.load is None:
            raise CannotStart(
                f"--teacher-cache {self.folder} has not all of {', '.join(missing)} of {split} in {self.precision}, which "
                "this run learns from: give --teacher, which then writes it, or the --cache-precision that is there."
            )
        if self.load is None and (damaged := len(rows.unwritten())):
            raise CannotStart(
                f"--teacher-cache {self.folder} has damaged rows of {split}, {damaged} of {len(rows)}: give --teacher, "
                "which writes them anew."
            )
        if missing:
            rows.reserve()
            # What cannot be loaded should not be found out in the middle of an epoch.
            self.live  # noqa: B018
        return rows

    @cached_property
    def live(self) -> LiveTeacher:
        """The teacher itself, loaded when it is first needed."""
        teacher = self.load()
        if self.asks_words and not self._lm_head_path.is_file():
            state = {name: value.cpu() for name, value in teacher.model.encoder.lm_head.state_dict().items()}
            with locked(self.folder), whole(self._lm_head_path) as file:
                torch.save(state, file)
        return teacher

    @property
    def _lm_head_path(self) -> Path:
        return self.folder / "lm_head.pt"

    @cached_property
    def _lm_head(self) -> LMHead:
        state = torch.load(self._lm_head_path, map_location="cpu", weights_only=True)
        # What the head shares with the word embeddings, one matrix or two factors, stands with it.
        shared = {
            "embed_tokens": state["weight"],
            "embed_projection": state.get("projection", torch.empty(0)),
        }
        words = {name: SimpleNamespace(weight=torch.nn.Parameter(weight)) for name, weight in shared.items()}
        head = LMHead(self.shape, SimpleNamespace(**words))
        head.load_state_dict(state)
        return head.to(state["weight"].dtype).requires_grad_(False).eval()

    @torch.no_grad()
    def _word_scores(self, states: Tensor) -> Tensor:
        """[n, H] -> [n, V]"""
        if self._lm_head.weight.device != states.device:
            self._lm_head.to(states.device)
        with torch.autocast(states.device.type, enabled=False):
            return self._lm_head(states.to(self._lm_head.weight.dtype))
