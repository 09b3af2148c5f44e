"""A teacher whose signals are read from disk, and written there by whoever needs them first."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import torch
from torch import Tensor

from ..data.cache import Identity, SplitCache, codecs_of
from ..data.cache.allocation import preallocate
from ..data.cache.local_rank_zero import run_on_local_rank_zero
from ..data.sequences import PAD, SequenceDataset
from ..errors import CannotStart
from ..files import atomic_write
from ..models.encoder import LMHead
from ..signals import Signals, Wanted
from .live import LiveTeacher

HEAD = "lm_head"


class CachedTeacher:
    """Answers from a cache (see `data/cache`) and, where a batch is not there whole, live: then it is written.

    The data sets read it, in their own processes; what they found comes with the batch.

    folder     of the cache, which is none yet, or one of `identity` (Identity.agree)
    wanted     all that is ever asked of the teacher
    precision  of what is stored: fp16, bf16 or fp32
    words      logits are asked for as those of masked words
    load       builds the teacher itself; None where there is none
    head_size  bytes of its masked-LM head
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        wanted: Wanted,
        precision: str,
        words: bool,
        load: Optional[Callable[[], LiveTeacher]],
        head_size: int = 0,
    ) -> None:
        self.folder, self.identity, self.wanted, self.precision = folder, identity, wanted, precision
        self.shape = identity.shape
        self.codecs = codecs_of(wanted, self.shape, None if words else identity.num_classes)
        self.asks_words = words and wanted.logits
        self.load, self.head_size = load, head_size
        self.splits: dict[str, SplitCache] = {}
        self.begun: dict[str, SplitCache] = {}  # those of them for which no room has been taken yet

    def serve(self, dataset: SequenceDataset, split: str, data: Callable[[], str]) -> None:
        """Lets a data set find the stored signals of its rows; each worker has to call this.

        split  its name, and its shard
        data   hashes it

        Raises CannotStart where signals are missing or damaged and there is no teacher: looked for once.
        """

        def checked() -> str:
            found = data()
            if not known(found):
                self.splits[split] = self._checked(self._rows(dataset, split, found), dataset)
            return found

        def known(found: str) -> bool:
            return split in self.splits and self.splits[split].data == found

        found = run_on_local_rank_zero(checked)
        if not known(found):
            self.splits[split] = self._rows(dataset, split, found)
        dataset.cached = self.begun[split] = self.splits[split]

    def room(self) -> dict[str, int]:
        """How many bytes are taken by what is not there yet, of each split that has been served since there was room."""
        sizes = {split: rows.missing_bytes() for split, rows in self.begun.items()}
        return sizes | ({HEAD: self.head_size} if self._lacks_head() else {})

    def take_room(self) -> None:
        """Makes the files of all splits that have been served; each worker has to call this, before the first batch.

        Says how large they are. Raises CannotStart where there is no room, of which nothing is taken then.
        """
        if self.begun:
            run_on_local_rank_zero(self._take_room)
            missing = [rows.missing() for rows in self.begun.values()]
            self.begun = {}
            # What cannot be loaded should not be found out in the middle of an epoch.
            if any(missing):
                self.live  # noqa: B018

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

        signals = split.restore(cached, tokens.ne(PAD))
        if self.asks_words:
            signals.lm_head = self._word_scores
        return signals

    def store(self, sample: Mapping[str, Any]) -> None:
        """Asks the teacher itself for all that is ever wanted of a batch, and writes it."""
        self.take_room()
        signals = self.live.signals(sample, self.wanted)
        rows = self.splits[sample["cached_rows"]]
        rows.write(sample["id"].tolist(), sample["net_input"]["src_tokens"], signals)

    def _rows(self, dataset: SequenceDataset, split: str, data: str) -> SplitCache:
        masked = dataset.count_masked if self.asks_words else None
        return SplitCache(self.folder / split, self.codecs, self.precision, dataset.sizes, data, masked)

    def _checked(self, rows: SplitCache, dataset: SequenceDataset) -> SplitCache:
        """The rows of a split, of which all is there if it has to be."""
        if self.load is not None:
            return rows
        missing = [codec.name for codec in rows.missing()]
        if self._lacks_head():
            missing.append(HEAD)
        if missing:
            raise CannotStart(
                f"--teacher-cache {self.folder} has not all of {', '.join(missing)} of {rows.folder.name} in "
                f"{self.precision}, which this run learns from: give --teacher, which then writes it, or the "
                "--cache-precision that is there."
            )
        if damaged := len(rows.invalid_rows(dataset)):
            raise CannotStart(
                f"--teacher-cache {self.folder} has damaged rows of {rows.folder.name}, {damaged} of {len(rows)}: give "
                "--teacher, which writes them anew."
            )
        return rows

    def _take_room(self) -> None:
        if self.load is None or (not any(self.room().values()) and self.identity.agree(self.folder)):
            return  # nothing is written, not even a lock
        self.identity.claim(self.folder)
        names = ", ".join(codec.name for codec in self.codecs)
        files = chain(self._make_head(), *(rows.create_files() for rows in self.begun.values()))
        preallocate(self.folder, f"{names} in {self.precision}", self.room, files)

    def _lacks_head(self) -> bool:
        return self.asks_words and not self._lm_head_path.is_file()

    def _make_head(self) -> Iterator[Path]:
        if self._lacks_head():
            state = self.live.model.encoder.lm_head.state_dict()
            content = BytesIO()  # of a full disk torch.save says something else than OSError
            torch.save({name: value.cpu() for name, value in state.items()}, content)
            with atomic_write(self._lm_head_path) as file:
                file.write(content.getbuffer())
            yield self._lm_head_path

    @cached_property
    def live(self) -> LiveTeacher:
        """The teacher itself, loaded when it is first needed."""
        return self.load()

    @property
    def _lm_head_path(self) -> Path:
        return self.folder / f"{HEAD}.pt"

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
