"""`--task masked_lm_kd`: running text with masked words."""

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fairseq.data import Dictionary, PrependTokenDataset, TokenBlockDataset
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import SAMPLE_BREAK_MODE_CHOICES
from omegaconf import MISSING

from ..data.binarized import files_of_split, longest_row, read_split
from ..data.masked import MaskedWordsDataset
from ..data.metadata import corpus_pair_format, dictionary_hash, load_dictionary
from ..data.short import ShortBlocksDataset
from ..data.words import word_starts
from ..errors import CannotStart
from ..flags import flag, flag_name
from ..models.data_requirements import DataRequirements
from ..objectives import MaskedWords
from ..precisions import student_autocast
from .distillation import DistillationTask, DistillationTaskConfig

logger = logging.getLogger(__name__)

MADE_BY = "python -m preprocess.corpus"

# Default of --vocabulary-chunk, in tokens.
CHUNK = 1024


@dataclass
class MaskedLMKDConfig(DistillationTaskConfig):
    data: str = flag(
        MISSING,
        "folders of binarized text, made by `python -m preprocess.corpus`, joined by colons; each epoch reads "
        "one of them",
    )
    tokens_per_sample: int = flag(
        512,
        "maximum tokens of a block of text, <s> included; also the maximum of a sentence, except with "
        "--sample-break-mode none (default: 512 tokens)",
    )
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = flag(
        "complete",
        "end of blocks: none fills each block; complete ends it at the end of a sentence; complete_doc also at "
        "the end of a document; eos makes one block per sentence (default: complete)",
    )
    short_blocks: float = flag(
        0.0,
        "share of the training blocks that are split in two at a random place, the same in every epoch "
        "(default: 0)",
    )
    mask_prob: float = flag(0.15, "share of the tokens that are predicted (default: 0.15)")
    leave_unmasked_prob: float = flag(0.1, "share of the predicted tokens that remain visible (default: 0.1)")
    random_token_prob: float = flag(
        0.1, "share of the predicted tokens that are replaced by a random word (default: 0.1)"
    )
    mask_whole_words: bool = flag(False, "mask whole words (default: single tokens)")
    frozen_masking: bool = flag(False, "mask the same tokens in every epoch (default: other tokens in each)")
    replaced_words: int = flag(
        0,
        "number of words to replace by random words in a training block, besides the predicted ones; each block is "
        "changed with probability 1/2; academic-budget distillation replaces 100, in half of the batches "
        "(default: 0 words)",
    )
    vocabulary_chunk: int = flag(
        CHUNK,
        "number of masked tokens whose vocabulary scores are in memory at once; fewer need less memory "
        f"(default: {CHUNK} tokens)",
    )


@register_task("masked_lm_kd", dataclass=MaskedLMKDConfig)
class MaskedLMKDTask(DistillationTask):
    """Reads running text and masks words."""

    row_flags = (*DistillationTask.row_flags, "tokens_per_sample", "sample_break_mode", "short_blocks")

    def __init__(
        self, cfg: MaskedLMKDConfig, dictionary: Dictionary, dictionary_hash: str, pair_format: str
    ) -> None:
        """Set up the objective. pair_format: the separators of the vocabulary (see `corpus_pair_format`)."""
        data = DataRequirements(
            cfg.data, dictionary, dictionary_hash, pair_format, length=cfg.tokens_per_sample
        )

        def autocast(sample: Mapping[str, Any]) -> AbstractContextManager:
            return student_autocast(sample, str(cfg.autocast))  # `build_model` may replace bf16

        kappa = cfg.mask_prob * cfg.tokens_per_sample
        super().__init__(cfg, data, MaskedWords(len(dictionary), kappa, cfg.vocabulary_chunk, autocast))

    @classmethod
    def setup_task(cls, cfg: MaskedLMKDConfig, **_: Any) -> "MaskedLMKDTask":
        _check_flags(cfg)
        folders = _folders(cfg)
        paths = [folder / "dict.txt" for folder in folders]
        for path in paths:
            if not path.is_file():
                raise CannotStart(
                    f"data folder {path.parent} has no dict.txt: make it with `python -m preprocess.corpus`."
                )
        hashes = [dictionary_hash(path) for path in paths]
        for path, found in zip(paths, hashes, strict=True):
            if found != hashes[0]:
                raise CannotStart(
                    f"{path} and {paths[0]} number words differently: shards of one --data need one vocabulary, make "
                    "them in one call of `python -m preprocess.corpus`."
                )

        dictionary = load_dictionary(paths[0])
        return cls(cfg, dictionary, hashes[0], corpus_pair_format(folders[0]))

    @property
    def shards(self) -> int:
        """Number of folders in `--data`."""
        return len(_folders(self.cfg))

    def check_cacheable(self) -> None:
        """Raise CannotStart if there is a teacher cache, but other words are masked in each epoch."""
        if self.cfg.teacher_cache is not None and not self.cfg.frozen_masking:
            raise CannotStart(
                f"--teacher-cache {self.cfg.teacher_cache} without --frozen-masking: each epoch masks other words, so "
                "the teacher's signals cannot be stored: add --frozen-masking, or remove --teacher-cache."
            )

    def check_positions(self, model: str, longest: Optional[int]) -> None:
        if longest is not None and self.cfg.tokens_per_sample > longest:
            raise CannotStart(
                f"--tokens-per-sample {self.cfg.tokens_per_sample} is more than {model}: give {longest} or less."
            )

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **_: Any) -> MaskedWordsDataset:
        """Load one split of the shard that `epoch` reads. Raises CannotStart if any shard cannot be read."""
        folders = _folders(self.cfg)
        shard = (epoch - 1) % len(folders)
        training = split == self.cfg.train_subset
        if split not in self.datasets:  # check all shards before training: the last may be read days later
            for folder in folders if training else [folders[shard]]:
                _check_files(folder / split)
                self._check_lengths(folder / split, combine)
            if training and self.cfg.teacher_cache is not None:
                # Signals of the teacher, or disk space for them, may be missing as well.
                for other in range(len(folders)):
                    self._read(split, other, combine)

        dataset = self._read(split, shard, combine)
        logger.info(
            f"{split}: {len(dataset)} blocks of up to {self.cfg.tokens_per_sample} tokens from {folders[shard] / split}"
        )
        # fairseq keeps each data set that has an iterator: without this line, one more in every epoch.
        self.dataset_to_epoch_iter.pop(self.datasets.get(split), None)
        self.datasets[split] = dataset
        return dataset

    def _read(self, split: str, shard: int, combine: bool) -> MaskedWordsDataset:
        """Return a split of a shard; with a teacher cache, also its stored signals."""
        path = _folders(self.cfg)[shard] / split
        training = split == self.cfg.train_subset
        stored = read_split(path, self.dictionary, combine, MADE_BY)

        blocks = TokenBlockDataset(
            stored,
            stored.sizes,
            self.cfg.tokens_per_sample - 1,  # without <s>
            pad=self.dictionary.pad(),
            eos=self.dictionary.eos(),
            break_mode=self.cfg.sample_break_mode,
        )
        if training and self.cfg.short_blocks:
            blocks = ShortBlocksDataset(blocks, self.cfg.short_blocks, self.cfg.seed)
        dataset = MaskedWordsDataset(
            PrependTokenDataset(blocks, self.dictionary.bos()),
            self._mask_settings(),
            self.cfg.frozen_masking,
            self.cfg.replaced_words if training else 0,
        )
        self.attach_cache(
            dataset, f"{split}.{shard}", files_of_split(path, combine), self._block_settings(training)
        )
        return dataset

    def _mask_settings(self) -> dict[str, Any]:
        """Return the arguments of fairseq's `MaskTokensDataset`."""
        folder = _folders(self.cfg)[0]
        return {
            "vocab": self.dictionary,
            "pad_idx": self.dictionary.pad(),
            "mask_idx": self.dictionary.index("<mask>"),
            "seed": self.cfg.seed,
            "mask_prob": self.cfg.mask_prob,
            "leave_unmasked_prob": self.cfg.leave_unmasked_prob,
            "random_token_prob": self.cfg.random_token_prob,
            "mask_whole_words": word_starts(folder, self.dictionary) if self.cfg.mask_whole_words else None,
        }

    def _block_settings(self, training: bool) -> dict[str, Any]:
        """Return the settings that decide the tokens of a block."""
        names = ["tokens_per_sample", "sample_break_mode", "seed", "mask_whole_words"]
        names += ["mask_prob", "leave_unmasked_prob", "random_token_prob"]
        settings: dict[str, Any] = {name: str(self.cfg[name]) for name in names}
        settings["short_blocks"] = self.cfg.short_blocks if training else 0.0
        if training and self.cfg.replaced_words:
            settings["replaced_words"] = self.cfg.replaced_words
        return settings

    def _check_lengths(self, path: Path, combine: bool) -> None:
        """Raise CannotStart if a sentence is longer than `--tokens-per-sample`, which also decides kappa."""
        if self.cfg.sample_break_mode == "none":
            return
        limit = self.cfg.tokens_per_sample
        for part in (file.with_suffix("") for file in files_of_split(path, combine) if file.suffix == ".idx"):
            longest = longest_row(part, MADE_BY) + 1  # with <s>
            if longest > limit:
                raise CannotStart(
                    f"--tokens-per-sample {limit} is less than the {longest} tokens, <s> included, of a sentence in {part}: "
                    f"give {longest} or more, or make the data again with --longest {limit - 1} or less "
                    f"(`{MADE_BY}`)."
                )


def _folders(cfg: MaskedLMKDConfig) -> list[Path]:
    return [Path(folder) for folder in cfg.data.split(os.pathsep)]


def _check_files(path: Path) -> None:
    tokens = Path(f"{path}.bin")
    if not tokens.is_file() or not Path(f"{path}.idx").is_file():
        raise CannotStart(
            f"{path.parent} has no split {path.name}: name an existing one (--train-subset, --valid-subset), "
            "or make it with `python -m preprocess.corpus`."
        )
    if not tokens.stat().st_size:
        raise CannotStart(
            f"{path} is empty: remove that shard from --data, or that --valid-subset, or make it again."
        )


def _check_flags(cfg: MaskedLMKDConfig) -> None:
    if not 0 <= cfg.short_blocks <= 1:
        raise CannotStart(f"--short-blocks {cfg.short_blocks} is out of range: give a number from 0 to 1.")
    if not 0 < cfg.mask_prob < 1:
        raise CannotStart(f"--mask-prob {cfg.mask_prob} is out of range: give a number above 0 and below 1.")
    shares = (cfg.leave_unmasked_prob, cfg.random_token_prob)
    if min(shares) < 0 or sum(shares) > 1:
        raise CannotStart(
            f"--leave-unmasked-prob {shares[0]} and --random-token-prob {shares[1]} are out of range: give shares of the "
            "masked tokens, together at most 1."
        )
    for name, least in (("tokens_per_sample", 2), ("vocabulary_chunk", 1), ("replaced_words", 0)):
        if cfg[name] < least:
            raise CannotStart(f"{flag_name(name)} {cfg[name]} is too few: give {least} or more.")
    for name in ("max_tokens", "max_tokens_valid"):
        # fairseq would only warn, and omit longer blocks.
        if cfg[name] is not None and cfg[name] < cfg.tokens_per_sample:
            raise CannotStart(
                f"{flag_name(name)} {cfg[name]} is less than --tokens-per-sample {cfg.tokens_per_sample}: "
                "give as many or more, or a lower --tokens-per-sample."
            )
