"""What the labels of sentences are: what meta.json says, or flags where there is none."""

import logging
from pathlib import Path
from typing import Optional

from fairseq.dataclass import FairseqDataclass

from ..data.metadata import Metadata, class_names, dictionary_hash, read_metadata
from ..errors import CannotStart

logger = logging.getLogger(__name__)


def metadata_of(cfg: FairseqDataclass, dictionary: Path) -> Metadata:
    """What is known of the data in `--data`. Raises CannotStart where flags contradict it, or one another.

    cfg         of the task: `data`, `num_classes`, `regression_target`
    dictionary  the data's dict.txt
    """
    data = Path(cfg.data)
    metadata = read_metadata(data)
    if metadata is None:
        return _from_flags(cfg, data, dictionary)

    stored = data / "meta.json"
    if cfg.num_classes not in (None, metadata.num_classes):
        raise CannotStart(
            f"--num-classes {cfg.num_classes} contradicts {stored}, which says {metadata.num_classes}: leave the flag out."
        )
    if cfg.regression_target and not metadata.regression:
        raise CannotStart(
            f"--regression-target contradicts {stored}, which says {metadata.num_classes} classes: leave the flag out."
        )
    return metadata


def _from_flags(cfg: FairseqDataclass, data: Path, dictionary: Path) -> Metadata:
    """Return the metadata of data that fairseq's own scripts made.

    Class names come from `label/dict.txt`. `--num-classes` may name fewer or more classes than that file, as in
    fairseq: the first ones count, or `madeupword0000`, ... are names of further ones.
    """
    listed = () if cfg.regression_target else class_names(data)
    classes = cfg.num_classes
    if classes is None:
        classes = 1 if cfg.regression_target else len(listed) or None
    problem = _problem(classes, cfg, data)
    if problem is not None:
        raise CannotStart(f"data folder {data} has no meta.json, {problem}")

    if listed and len(listed) != classes:
        logger.warning(
            f"{data / 'label' / 'dict.txt'} names {len(listed)} classes ({', '.join(listed)}), but {classes} are expected "
            "(--num-classes, or the checkpoint)."
        )
    return Metadata(
        task=data.name,
        num_classes=classes,
        regression=cfg.regression_target,
        pairs=(data / "input1").is_dir(),
        pair_format="roberta",
        dictionary_hash=dictionary_hash(dictionary),
        labels=() if cfg.regression_target else class_names(data, classes),
    )


def _problem(classes: Optional[int], cfg: FairseqDataclass, data: Path) -> Optional[str]:
    if classes is None:
        return (
            "and no label/dict.txt, which names the classes: give --num-classes, give --regression-target for labels "
            "that are numbers, or make the data with `python -m preprocess.glue`."
        )
    if cfg.regression_target and classes != 1:
        return (
            f"and --num-classes {classes} with --regression-target says two things of the labels: give --num-classes 1 "
            "for numbers, or leave --regression-target out for classes."
        )
    if not cfg.regression_target and classes < 2:
        found = f"--num-classes {classes}" if cfg.num_classes is not None else "one name in label/dict.txt"
        return (
            f"and {found} leaves nothing to tell apart: give 2 or more, or --num-classes 1 with "
            "--regression-target for numbers."
        )
    if not cfg.regression_target and not class_names(data) and any((data / "label").glob("*.idx")):
        return (
            "and labels without label/dict.txt, which gives their order: copy that file from the folder where "
            "fairseq-preprocess wrote it."
        )
    return None
