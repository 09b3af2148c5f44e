"""`--task sentence_prediction_kd`: classification and regression of sentences and pairs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.data import ConcatDataset, Dictionary
from fairseq.tasks import register_task
from omegaconf import MISSING, DictConfig
from torch.utils.data import Dataset

from ..data.binarized import files_of_split, read_split
from ..data.metadata import Metadata, load_dictionary
from ..data.sentences import UNLABELLED, SentenceDataset
from ..errors import CannotStart
from ..flags import flag
from ..models.data_requirements import DataRequirements
from ..objectives import SentenceLabels
from .distillation import DistillationTask, DistillationTaskConfig
from .labels import metadata_of

logger = logging.getLogger(__name__)


@dataclass
class SentencePredictionKDConfig(DistillationTaskConfig):
    data: str = flag(
        MISSING, "folder of binarized data, made by `python -m preprocess.glue` or `preprocess.custom`"
    )
    num_classes: Optional[int] = flag(
        None, "number of classes, 1 for regression (default: from the data's meta.json or label/dict.txt)"
    )
    regression_target: bool = flag(False, "labels are numbers (default: from the data's meta.json)")
    unlabelled_subset: Optional[str] = flag(
        None,
        "splits, comma-separated, whose sentences are added to the training set without labels: all terms but that of "
        "the labels learn from them (default: none; `preprocess.glue --unlabelled` makes the split unlabelled)",
    )
    length_bucket: int = flag(
        1,
        "training sentences are shuffled, then sorted by length within buckets of this size; this reduces "
        "attention over padding, but makes batches less random (default: 1 sentence, no sorting)",
    )
    classification_head_name: str = flag(
        "sentence_classification_head",
        "name of the classification head of student and teacher (default: sentence_classification_head)",
    )


@register_task("sentence_prediction_kd", dataclass=SentencePredictionKDConfig)
class SentencePredictionKDTask(DistillationTask):
    """Reads labelled sentences and pairs."""

    row_flags = (*DistillationTask.row_flags, "unlabelled_subset", "length_bucket")

    def __init__(self, cfg: SentencePredictionKDConfig, dictionary: Dictionary, metadata: Metadata) -> None:
        data = DataRequirements(
            path=cfg.data,
            dictionary=dictionary,
            dictionary_hash=metadata.dictionary_hash,
            pair_format=metadata.pair_format,
            length=metadata.max_positions,
            pairs=metadata.pairs,
            name=metadata.task,
            head=cfg.classification_head_name,
            classes=metadata.num_classes,
            class_names=metadata.labels,
        )
        super().__init__(cfg, data, SentenceLabels(metadata.num_classes, metadata.regression))
        self.metadata = metadata

    @classmethod
    def setup_task(cls, cfg: SentencePredictionKDConfig, **_: Any) -> "SentencePredictionKDTask":
        """Read the config and the vocabulary. Raises CannotStart if one is invalid."""
        if cfg.length_bucket < 1:
            raise CannotStart(f"--length-bucket {cfg.length_bucket} is too few: give 1 or more.")
        data = Path(cfg.data)
        path = data / "input0" / "dict.txt"
        if not path.is_file():
            raise CannotStart(
                f"data folder {data} has no input0/dict.txt: make it with preprocess.glue or preprocess.custom."
            )

        dictionary = load_dictionary(path)
        return cls(cfg, dictionary, metadata_of(cfg, path))

    def saved_settings(self) -> dict[str, Any]:
        """Return the settings of the base class, the task's name and the class names.

        Data without class names has no labels. The student then learns the teacher's order of classes.
        """
        teacher = self.source.checkpoint
        of_teacher = () if teacher is None else teacher.class_names
        names = self.data.class_names or (of_teacher if len(of_teacher) == self.data.classes else ())
        scale = {"score_scale": self.metadata.score_scale} if self.metadata.regression else {}
        return super().saved_settings() | {
            "fine_tuned_on": self.data.name,
            "class_names": list(names),
            **scale,
        }

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> SentenceDataset:
        """Load one split: training data in shuffled buckets, everything else sorted by length.

        Raises CannotStart if it is missing or damaged, or if an example is too long.
        """
        data = Path(self.cfg.data)
        first, second, labels = self._examples(split, combine)
        dataset = SentenceDataset(
            first,
            second,
            labels,
            self.metadata.pair_format,
            seed=self.cfg.seed,
            bucket=self.cfg.length_bucket if split == self.cfg.train_subset else None,
        )
        flags = [] if self.criterion is None else self.criterion.label_flags()
        if dataset.targets is None and flags:
            raise CannotStart(
                f"{data} has no labels for {split}, but {' and '.join(flags)} above 0 needs them: use a split with labels "
                f"(--train-subset, --valid-subset), or set {' 0 and '.join(flags)} 0."
            )
        longest = int(dataset.sizes.max(initial=0))
        readers = {"the student (--max-positions)": self.student_shape}
        if self.teacher is not None:
            readers[self.source.name] = self.source.shape
        for reader, shape in readers.items():
            if shape is not None and longest > shape.max_positions:
                raise CannotStart(
                    f"{data / 'input0' / split} has an example of {longest} tokens, but {reader} takes "
                    f"{shape.max_positions}: make the data again with at most that many (--max-positions of preprocess.glue "
                    "and preprocess.custom)."
                )
        self._check_batches(split, longest)
        parts = self._parts(split)
        logger.info(f"{' + '.join(parts)}: {len(dataset)} sentences, longest {longest} tokens")
        inputs = ("input0", "input1")[: 1 if second is None else 2]
        stored = [
            file for name in inputs for part in parts for file in files_of_split(data / name / part, combine)
        ]
        self.attach_cache(dataset, "+".join(parts), stored, {"pair_format": self.metadata.pair_format})
        self.datasets[split] = dataset
        return dataset

    def _parts(self, split: str) -> list[str]:
        """Return the stored splits that make up a split: the training set may have unlabelled ones."""
        unlabelled = self.cfg.unlabelled_subset if split == self.cfg.train_subset else None
        return [split, *(name for name in (unlabelled or "").split(",") if name)]

    def _examples(self, split: str, combine: bool) -> tuple[Dataset, Optional[Dataset], Optional[np.ndarray]]:
        """Return first sentences, second sentences (pairs) and labels of a split.

        Labels of an unlabelled part are UNLABELLED. Raises CannotStart if the split or its unlabelled part is missing.
        """
        data = Path(self.cfg.data)
        firsts, seconds = [], []
        for part in self._parts(split):
            first = self._stored(data / "input0" / part, combine)
            if first is None:
                present = ", ".join(sorted(path.stem for path in (data / "input0").glob("*.idx")))
                flag = "" if part == split else "--unlabelled-subset: "
                raise CannotStart(f"{flag}{data} has no split {part}: it has {present}.")
            second = self._stored(data / "input1" / part, combine)
            if second is None and self.metadata.pairs:
                raise CannotStart(
                    f"{data / 'input1'} has no split {part}, but its data are pairs: make the data again."
                )
            firsts.append(first)
            seconds.append(second)

        labels = self._labels(data / "label" / split, len(firsts[0]), combine)
        if len(firsts) == 1:
            return firsts[0], seconds[0], labels
        if labels is not None:
            unlabelled = UNLABELLED[self.metadata.regression]
            added = sum(map(len, firsts[1:]))
            labels = np.append(labels, np.full(added, unlabelled, labels.dtype))
        return ConcatDataset(firsts), None if seconds[0] is None else ConcatDataset(seconds), labels

    def _check(self, criterion: FairseqCriterion, cfg: DictConfig) -> None:
        """Raise CannotStart also if no term of the loss would learn from the unlabelled sentences."""
        super()._check(criterion, cfg)
        given = self.cfg.unlabelled_subset
        if given is not None and any(stage.active().keys() == {"hard"} for stage in criterion.stages.all):
            raise CannotStart(
                f"--unlabelled-subset {given}: the loss has only the term of the labels ({criterion.stages}), so "
                "nothing is learned from these sentences: remove the flag, or give another term a weight above 0.",
                doing="start distillation",
            )

    def _check_batches(self, split: str, longest: int) -> None:
        """Raise CannotStart if an example is too long for any batch: fairseq would omit it, or fail."""
        most, flag = self.cfg.max_tokens, "--max-tokens"
        if split != self.cfg.train_subset and self.cfg.max_tokens_valid != most:
            most, flag = self.cfg.max_tokens_valid, "--max-tokens-valid"
        if most is not None and longest > most:
            raise CannotStart(
                f"{flag} {most} is less than the {longest} tokens of an example of {split}: give more."
            )

    def _stored(self, path: Path, combine: bool) -> Optional[Dataset]:
        return read_split(path, self.dictionary, combine, "python -m preprocess.glue --overwrite")

    def _labels(self, path: Path, expected: int, combine: bool) -> Optional[np.ndarray]:
        if self.metadata.regression:
            text = path.with_name(path.name + ".label")
            if not text.is_file():
                return None
            try:
                labels = np.array([float(line) for line in text.read_text().split()])
            except ValueError as error:
                raise CannotStart(
                    f"{text} has a label that is not a number ({error}): make the data again."
                ) from None
        else:
            stored = self._stored(path, combine)
            if stored is None:
                return None
            offset = Dictionary().nspecial
            labels = np.array([int(stored[index][0]) - offset for index in range(len(stored))])

        if len(labels) != expected:
            raise CannotStart(
                f"{path} has {len(labels)} labels for {expected} sentences: make the data again."
            )
        if (
            not self.metadata.regression
            and len(labels)
            and not 0 <= labels.min() <= labels.max() < self.metadata.num_classes
        ):
            raise CannotStart(
                f"{path} has a label outside the {self.metadata.num_classes} classes 0.."
                f"{self.metadata.num_classes - 1}: make the data again, or set --num-classes."
            )
        return labels

    def train_step(
        self, sample: Mapping[str, Any], *args: Any, ignore_grad: bool = False, **kwargs: Any
    ) -> tuple[Any, int, dict[str, Any]]:
        """Make DistillationTask's training step. A dummy batch gets labels if the training set has them.

        fairseq takes it from the split that was read last. All workers must log the same keys, which fairseq sums.
        """
        if ignore_grad:
            sample = self._labelled_as_training(sample)
        return super().train_step(sample, *args, ignore_grad=ignore_grad, **kwargs)

    def _labelled_as_training(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        targets = self.dataset(self.cfg.train_subset).targets
        unlabelled = {name: value for name, value in sample.items() if name != "target"}
        if targets is None or "target" in sample:
            return unlabelled if targets is None else dict(sample)
        return unlabelled | {"target": targets.new_zeros(sample["nsentences"]).to(sample["id"].device)}

    def train_labels(self) -> Optional[np.ndarray]:
        """Return the class numbers of the training set, [N], before fairseq loads that set; None without labels.

        Raises CannotStart if the set is missing.
        """
        # Parts of a split (train, train1, ..) are joined, as fairseq does in training.
        return self._examples(self.cfg.train_subset, combine=True)[2]
