"""A teacher whose signals are read from a cache on disk; missing signals are computed and stored."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn import Parameter

from ..data.cache import Identity, SplitCache, codecs_of, hash_files
from ..data.cache.allocation import preallocate
from ..data.sequences import PAD, SequenceDataset
from ..errors import CannotStart
from ..files import atomic_write
from ..models.encoder import LMHead
from ..precisions import PRECISIONS
from ..process_groups import run_on_local_rank_zero
from ..signals import Signals, Wanted
from .live import LiveTeacher, move

HEAD = "lm_head"


class CachedTeacher:
    """Returns signals from a cache (see `data/cache`); runs the live teacher for missing rows, and stores them.

    Data sets read the stored signals in their own processes, and collate them with the batch.

    folder      folder of the cache, which may not exist yet
    identity    identity of that cache, already compared (`Identity.agree`)
    wanted      all signals that will ever be requested
    precision   of the stored signals: fp16, bf16 or fp32
    words       whether the task predicts masked words
    load_live   loads the live teacher; None without `--teacher`
    head_size   bytes of the teacher's masked-LM head
    in_fp32     whether that head computes in fp32, with weights of the teacher's precision
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        wanted: Wanted,
        precision: str,
        words: bool,
        load_live: Optional[Callable[[], LiveTeacher]],
        head_size: int = 0,
        in_fp32: bool = False,
    ) -> None:
        self.folder, self.identity, self.wanted, self.precision = folder, identity, wanted, precision
        self.shape = identity.shape
        self.codecs = codecs_of(wanted, self.shape, None if words else identity.num_classes)
        self.stores_words = words and wanted.logits
        self.load_live, self.head_size, self.in_fp32 = load_live, head_size, in_fp32
        self.splits: dict[str, SplitCache] = {}
        self.datasets: dict[str, SequenceDataset] = {}
        self.unallocated: dict[str, SplitCache] = {}  # splits attached since the last `allocate`

    def attach(
        self, dataset: SequenceDataset, split: str, files: Sequence[Path], settings: Mapping[str, Any]
    ) -> None:
        """Let a data set read the stored signals of its rows; every worker must call this.

        split     name of the split and its shard
        files     files of the split
        settings  all settings that decide the tokens of a row

        Raises CannotStart if signals are missing or damaged and there is no live teacher.
        """

        def is_attached(data_hash: str) -> bool:
            return split in self.splits and self.splits[split].data == data_hash

        def hash_and_check() -> str:
            content = json.dumps([hash_files(list(files)), dict(settings)], sort_keys=True)
            data_hash = hashlib.sha256(content.encode()).hexdigest()
            if not is_attached(data_hash):
                rows = self._rows(dataset, split, data_hash)
                self._check_complete(rows, dataset)
                self.splits[split] = rows
            return data_hash

        data_hash = run_on_local_rank_zero(hash_and_check)
        if not is_attached(data_hash):
            self.splits[split] = self._rows(dataset, split, data_hash)
        dataset.cached = self.unallocated[split] = self.splits[split]
        self.datasets[split] = dataset

    def missing_bytes(self) -> dict[str, int]:
        """Return the bytes of the files to create, for each split attached since the last `allocate`."""
        sizes = {split: rows.missing_bytes() for split, rows in self.unallocated.items()}
        return sizes | ({HEAD: self.head_size} if self._lacks_head() else {})

    def allocate(self) -> None:
        """Create the files of all attached splits; every worker must call this before the first batch.

        Logs their size. Raises CannotStart, and creates none, if there is too little disk space.
        """
        if self.unallocated:
            run_on_local_rank_zero(self._allocate)
            missing = [rows.missing() for rows in self.unallocated.values()]
            self.unallocated = {}
            # Fail here, not in the middle of an epoch, if the live teacher cannot be loaded.
            if any(missing):
                self.live  # noqa: B018

    def signals(self, sample: Mapping[str, Any], wanted: Wanted) -> Signals:
        """Return the teacher's signals for a batch, on the batch's device, in float32.

        Rows of an attached data set have all signals of the constructor's `wanted`. Their values are those on disk, also
        if they have just been computed.
        """
        tokens, cached = sample["net_input"]["src_tokens"], sample.get("cached")
        split = self.splits.get(sample.get("cached_rows"))
        if cached is None:
            if self.load_live is None:
                raise CannotStart(
                    f"--teacher-cache {self.folder} has damaged rows: give --teacher, which writes them again.",
                    doing="continue",
                )
            if split is None:
                return self.live.signals(sample, wanted)
            self.store(sample)
            cached = split.read_batch(sample["id"].tolist(), tokens)

        signals = split.restore(cached, tokens.ne(PAD))
        if self.stores_words:
            signals.lm_head = self._word_scores
        return signals

    def store(self, sample: Mapping[str, Any]) -> None:
        """Run the live teacher on the rows of a batch that are not stored, and store the constructor's `wanted`.

        Another run may have stored rows since the batch was made. So several runs together compute each row about once.
        """
        self.allocate()
        dataset, device = self.datasets[sample["cached_rows"]], sample["net_input"]["src_tokens"].device
        examples = [dataset[row] for row in sample["id"].tolist()]
        missing = [example for example in examples if example["cached"] is None]
        if not missing:
            return
        if len(missing) < len(examples):
            sample = move(dataset.collater(missing), device)
        signals = self.live.signals(sample, self.wanted)
        rows = self.splits[sample["cached_rows"]]
        rows.write(sample["id"].tolist(), sample["net_input"]["src_tokens"], signals)

    def _rows(self, dataset: SequenceDataset, split: str, data_hash: str) -> SplitCache:
        masked = dataset.count_masked if self.stores_words else None
        return SplitCache(self.folder / split, self.codecs, self.precision, dataset.sizes, data_hash, masked)

    def _check_complete(self, rows: SplitCache, dataset: SequenceDataset) -> None:
        """Raise CannotStart if a split has missing or damaged rows, and there is no live teacher."""
        if self.load_live is not None:
            return
        missing = [codec.name for codec in rows.missing()]
        if self._lacks_head():
            missing.append(HEAD)
        if missing:
            raise CannotStart(
                f"--teacher-cache {self.folder} lacks {', '.join(missing)} of {rows.folder.name} in {self.precision}, "
                "which this run needs: give --teacher to write the missing signals, or the --cache-precision of the cache."
            )
        if damaged := len(rows.invalid_rows(dataset)):
            raise CannotStart(
                f"--teacher-cache {self.folder} has damaged rows of {rows.folder.name}, {damaged} of {len(rows)}: give "
                "--teacher, which writes them again."
            )

    def _allocate(self) -> None:
        complete = not any(self.missing_bytes().values())
        if self.load_live is None or (complete and self.identity.agree(self.folder)):
            return  # writes nothing, not even a lock file
        self.identity.claim(self.folder)
        names = ", ".join(codec.name for codec in self.codecs)
        preallocate(self.folder, f"{names} in {self.precision}", self.missing_bytes, self._create_files)

    def _lacks_head(self) -> bool:
        return self.stores_words and not self._lm_head_path.is_file()

    def _create_files(self) -> None:
        if self._lacks_head():
            state = self.live.model.encoder.lm_head.state_dict()
            content = BytesIO()  # torch.save would hide the OSError of a full disk
            dtype = PRECISIONS[self.identity.precision]
            torch.save({name: value.to("cpu", dtype) for name, value in state.items()}, content)
            with atomic_write(self._lm_head_path) as file:
                file.write(content.getbuffer())
        for rows in self.unallocated.values():
            rows.create_files()

    @cached_property
    def live(self) -> LiveTeacher:
        """The live teacher, loaded at its first use: a complete cache never needs it."""
        return self.load_live()

    @property
    def _lm_head_path(self) -> Path:
        return self.folder / f"{HEAD}.pt"

    @cached_property
    def _lm_head(self) -> LMHead:
        state = torch.load(self._lm_head_path, map_location="cpu", weights_only=True)
        # The file also has the matrices that the head shares with the word embeddings.
        projection = Parameter(state["projection"]) if self.shape.rank else None
        head = LMHead(self.shape, Parameter(state["weight"]), projection)
        head.load_state_dict(state)
        dtype = torch.float32 if self.in_fp32 else state["weight"].dtype
        return head.to(dtype).requires_grad_(False).eval()

    @torch.no_grad()
    def _word_scores(self, states: Tensor) -> Tensor:
        """[n, H] -> [n, V]"""
        if self._lm_head.weight.device != states.device:
            self._lm_head.to(states.device)
        with torch.autocast(states.device.type, enabled=False):
            return self._lm_head(states.to(self._lm_head.weight.dtype))
