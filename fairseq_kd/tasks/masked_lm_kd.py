"""`--task masked_lm_kd`: running text with masked words, beside a teacher."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary, PrependTokenDataset, TokenBlockDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import SAMPLE_BREAK_MODE_CHOICES
from omegaconf import MISSING

from ..data.binarized import longest_row, read_split
from ..data.masked import MaskedWordsDataset
from ..data.metadata import corpus_pair_format, dictionary_hash
from ..data.short import ShortBlocksDataset
from ..data.words import word_starts
from ..errors import CannotStart
from ..objectives import MaskedWords
from ..signals import Wanted
from ..unused_flags import unused
from .distillation import DistillationTask, DistillationTaskConfig
from .teaching import stored_files

logger = logging.getLogger(__name__)

MADE_BY = "python -m preprocess.corpus"

# Tokens.
CHUNK = 1024


@dataclass
class MaskedLMKDConfig(DistillationTaskConfig):
    data: str = field(
        default=MISSING,
        metadata={
            "help": "folders of binarized text, as made by `python -m preprocess.corpus`, joined by colons; each "
            "epoch reads one of them"
        },
    )
    tokens_per_sample: int = field(
        default=512,
        metadata={
            "help": "most tokens of a block of text, <s> included; a sentence may have no more, unless blocks are filled "
            "(--sample-break-mode none) (default: 512 tokens)"
        },
    )
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = field(
        default="complete",
        metadata={
            "help": "where blocks end: none fills each block; complete ends it with a sentence; complete_doc, with a "
            "document too; eos makes a block of each sentence (default: complete)"
        },
    )
    short_blocks: float = field(
        default=0.0,
        metadata={
            "help": "share of the training blocks that are cut in two at a random place, the same in every epoch "
            "(default: 0)"
        },
    )
    mask_prob: float = field(
        default=0.15, metadata={"help": "share of the tokens that have to be guessed (default: 0.15)"}
    )
    leave_unmasked_prob: float = field(
        default=0.1, metadata={"help": "share of those that are shown all the same (default: 0.1)"}
    )
    random_token_prob: float = field(
        default=0.1, metadata={"help": "share of those that show a random word (default: 0.1)"}
    )
    mask_whole_words: bool = field(
        default=False, metadata={"help": "mask all tokens of a word, or none (default: single tokens)"}
    )
    frozen_masking: bool = field(
        default=False, metadata={"help": "mask the same tokens in every epoch (default: anew in each)"}
    )
    replaced_words: int = field(
        default=0,
        metadata={
            "help": "words of a training block, other than those to be guessed, that random ones take the place of, "
            "with probability 1/2 for each block; academic-budget distillation takes 100, in half of the batches "
            "(default: 0 words)"
        },
    )
    vocabulary_chunk: int = field(
        default=CHUNK,
        metadata={
            "help": "masked tokens whose scores for the whole vocabulary are held at once; fewer need less memory "
            f"(default: {CHUNK} tokens)"
        },
    )


@register_task("masked_lm_kd", dataclass=MaskedLMKDConfig)
class MaskedLMKDTask(DistillationTask):
    """Holds running text beside the teacher."""

    predicts_words = True
    regression = False
    row_flags = (*DistillationTask.row_flags, "tokens_per_sample", "sample_break_mode", "short_blocks")

    def __init__(
        self, cfg: MaskedLMKDConfig, dictionary: Dictionary, dictionary_hash: str, pair_format: str
    ) -> None:
        """pair_format is that of the text's encoder (see `data/metadata.py`)."""
        super().__init__(cfg, dictionary, dictionary_hash)
        self._pair_format = pair_format
        self.objective = MaskedWords(
            cfg.mask_prob * cfg.tokens_per_sample, cfg.vocabulary_chunk, self.autocast
        )

    @classmethod
    def setup_task(cls, cfg: MaskedLMKDConfig, **_: Any) -> "MaskedLMKDTask":
        _check_flags(cfg)
        folders = _folders(cfg)
        paths = [folder / "dict.txt" for folder in folders]
        for path in paths:
            if not path.is_file():
                raise CannotStart(
                    f"data folder {path.parent} holds no dict.txt: make it with `python -m preprocess.corpus`."
                )
        hashes = [dictionary_hash(path) for path in paths]
        for path, found in zip(paths, hashes, strict=True):
            if found != hashes[0]:
                raise CannotStart(
                    f"{path} and {paths[0]} number words differently: shards of one --data need one vocabulary, make "
                    "them in one call of `python -m preprocess.corpus`."
                )

        dictionary = Dictionary.load(str(paths[0]))
        dictionary.add_symbol("<mask>")
        return cls(cfg, dictionary, hashes[0], corpus_pair_format(folders[0]))

    @property
    def pair_format(self) -> str:
        return self._pair_format

    @property
    def shards(self) -> int:
        return len(_folders(self.cfg))

    @property
    def data_length(self) -> int:
        return self.cfg.tokens_per_sample

    def check_cacheable(self) -> None:
        if not self.cfg.frozen_masking:
            raise CannotStart(
                f"--teacher-cache {self.cfg.teacher_cache} without --frozen-masking: words change from epoch to epoch, so "
                "what the teacher says of them cannot be stored: add --frozen-masking, or leave out --teacher-cache."
            )

    def check_student(self, cfg) -> None:
        longest = cfg.get("max_positions")
        if longest is not None:
            self._check_positions(f"the student takes (--max-positions {longest})", longest)

    def check_teacher(self) -> None:
        longest = self.teacher_shape.max_positions
        self._check_positions(f"{self.teacher_given} takes ({longest} tokens)", longest)

    def _check_positions(self, reader: str, longest: int) -> None:
        if self.cfg.tokens_per_sample > longest:
            raise CannotStart(
                f"--tokens-per-sample {self.cfg.tokens_per_sample} is more than {reader}: give {longest} or less."
            )

    def logits_problems(self) -> list[str]:
        """Why the teacher's word scores cannot be learned from: sentences, none where they can."""
        if self.known_teacher is None:
            return [self.teacher_missing("--soft-weight above 0")]
        if not self.known_teacher.has_lm_head:
            return [
                f"{self.teacher_given} has no masked-LM head, whose word scores --soft-weight above 0 learns from: set "
                "--soft-weight 0 and take a method with terms of its own, or a teacher that has one."
            ]
        return []

    def unused_flags(self, wanted: Wanted) -> list[str]:
        given = [] if wanted.logits or self.cfg.vocabulary_chunk == CHUNK else ["--vocabulary-chunk"]
        return super().unused_flags(wanted) + unused(
            given, "--hard-weight 0 --soft-weight 0 need no word scores"
        )

    def train_labels(self) -> None:
        """Running text has no labels."""
        return

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **_: Any) -> MaskedWordsDataset:
        """Loads one split of the shard that `epoch` reads. Raises CannotStart where that, or a later one, cannot be."""
        folders = _folders(self.cfg)
        shard = (epoch - 1) % len(folders)
        training = split == self.cfg.train_subset
        if split not in self.datasets:  # before training; all shards, whose turn may come days later
            for folder in folders if training else [folders[shard]]:
                _check_filled(folder / split)
                self._check_lengths(folder / split, combine)
            if training and self.cfg.teacher_cache is not None:
                # Whose signals, or the room for them, may be missing as well.
                for other in range(len(folders)):
                    self._read(split, other, combine)

        dataset = self._read(split, shard, combine)
        logger.info(
            f"{split}: {len(dataset)} blocks of up to {self.cfg.tokens_per_sample} tokens from {folders[shard] / split}"
        )
        # fairseq keeps every data set it has made batches of: here one an epoch, for days.
        self.dataset_to_epoch_iter.pop(self.datasets.get(split), None)
        self.datasets[split] = dataset
        return dataset

    def get_batch_iterator(
        self, dataset: MaskedWordsDataset, *args: Any, **kwargs: Any
    ) -> EpochBatchIterator:
        """As DistillationTask's, but each epoch has data-loading processes of its own (`--num-workers`).

        Those of the last epoch have a copy of the data set, which never hears of the new one's masks.
        """
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        iterator.reuse_dataloader = False
        batches, workers = len(iterator.frozen_batches), iterator.num_shards
        if batches < workers and dataset is self.datasets.get(self.cfg.train_subset):
            logger.warning(
                f"--data holds {batches} batches for {workers} workers, of which some have nothing to do: give a smaller "
                "--batch-size or --max-tokens, or fewer workers."
            )
        return iterator

    def _read(self, split: str, shard: int, combine: bool) -> MaskedWordsDataset:
        """A split of a shard, and what is stored of the teacher's signals."""
        path = _folders(self.cfg)[shard] / split
        training = split == self.cfg.train_subset
        stored = read_split(path, self.dictionary, combine, MADE_BY)

        blocks = TokenBlockDataset(
            stored,
            stored.sizes,
            self.cfg.tokens_per_sample - 1,  # <s> comes before
            pad=self.dictionary.pad(),
            eos=self.dictionary.eos(),
            break_mode=self.cfg.sample_break_mode,
        )
        if training and self.cfg.short_blocks:
            blocks = ShortBlocksDataset(blocks, self.cfg.short_blocks, self.cfg.seed)
        dataset = MaskedWordsDataset(
            PrependTokenDataset(blocks, self.dictionary.bos()),
            self._mask(),
            self.cfg.frozen_masking,
            self.cfg.replaced_words if training else 0,
        )
        self.serve_teacher(dataset, f"{split}.{shard}", stored_files(path, combine), self._decided(training))
        return dataset

    def _mask(self) -> dict[str, Any]:
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

    def _decided(self, training: bool) -> dict[str, Any]:
        """The flags that decide what a block of text looks like."""
        names = ("tokens_per_sample", "sample_break_mode", "seed", "mask_whole_words")
        names += ("mask_prob", "leave_unmasked_prob", "random_token_prob")
        decided = {name: str(self.cfg[name]) for name in names}
        decided["short_blocks"] = self.cfg.short_blocks if training else 0.0
        if training and self.cfg.replaced_words:
            decided["replaced_words"] = self.cfg.replaced_words
        return decided

    def _check_lengths(self, path: Path, combine: bool) -> None:
        """Raises CannotStart where a block would be longer than `--tokens-per-sample` says, which decides kappa, too."""
        if self.cfg.sample_break_mode == "none":
            return
        limit = self.cfg.tokens_per_sample
        for part in (file.with_suffix("") for file in stored_files(path, combine) if file.suffix == ".idx"):
            longest = longest_row(part, MADE_BY) + 1  # <s> comes before
            if longest > limit:
                raise CannotStart(
                    f"--tokens-per-sample {limit} leaves no room for a sentence of {longest} tokens, <s> included, in "
                    f"{part}: give {longest} or more, or make the data again with --longest {limit - 1} or less "
                    f"(`{MADE_BY}`)."
                )


def _folders(cfg: MaskedLMKDConfig) -> list[Path]:
    return [Path(folder) for folder in cfg.data.split(os.pathsep)]


def _check_filled(path: Path) -> None:
    tokens = Path(f"{path}.bin")
    if not tokens.is_file() or not Path(f"{path}.idx").is_file():
        raise CannotStart(
            f"{path.parent} has no split called {path.name}: name one that it has (--train-subset, --valid-subset), "
            "or make it with `python -m preprocess.corpus`."
        )
    if not tokens.stat().st_size:
        raise CannotStart(
            f"{path} is empty: leave it out (that shard of --data, that --valid-subset), or make it again."
        )


def _check_flags(cfg: MaskedLMKDConfig) -> None:
    if not 0 < cfg.mask_prob < 1:
        raise CannotStart(f"--mask-prob {cfg.mask_prob} is no share: give a number between 0 and 1.")
    if not 0 <= cfg.short_blocks <= 1:
        raise CannotStart(f"--short-blocks {cfg.short_blocks} is no share: give a number from 0 to 1.")
    shown = (cfg.leave_unmasked_prob, cfg.random_token_prob)
    if not (all(share >= 0 for share in shown) and sum(shown) <= 1):
        raise CannotStart(
            f"--leave-unmasked-prob {cfg.leave_unmasked_prob} and --random-token-prob {cfg.random_token_prob} are shares "
            "of the masked tokens: give numbers from 0 that add up to 1 at most."
        )
    for name, least in (("tokens_per_sample", 2), ("vocabulary_chunk", 1), ("replaced_words", 0)):
        if cfg[name] < least:
            raise CannotStart(f"--{name.replace('_', '-')} {cfg[name]} is too few: give {least} or more.")
    for name in ("max_tokens", "max_tokens_valid"):
        # fairseq drops what is longer, with no more than a warning.
        if cfg[name] is not None and cfg[name] < cfg.tokens_per_sample:
            raise CannotStart(
                f"--{name.replace('_', '-')} {cfg[name]} holds no block of --tokens-per-sample {cfg.tokens_per_sample}: "
                "give as many or more, or a lower --tokens-per-sample."
            )
