"""Finds the classes of sentences, or that labels are numbers: in meta.json, else in flags and label/dict.txt."""

import logging
from pathlib import Path
from typing import Optional

from fairseq.dataclass import FairseqDataclass

from ..data.metadata import Metadata, class_names, dictionary_hash, read_metadata
from ..errors import CannotStart

logger = logging.getLogger(__name__)


def metadata_of(cfg: FairseqDataclass, dictionary: Path) -> Metadata:
    """Return the metadata of `--data`. Raises CannotStart if flags conflict with it, or with each other.

    cfg         the task's config with `data`, `num_classes` and `regression_target`
    dictionary  the data's dict.txt
    """
    data = Path(cfg.data)
    metadata = read_metadata(data)
    if metadata is None:
        return _from_flags(cfg, data, dictionary)

    stored, found = data / "meta.json", f"{metadata.num_classes} classes"
    if cfg.num_classes not in (None, metadata.num_classes):
        raise CannotStart(
            f"--num-classes {cfg.num_classes} conflicts with {stored}, which has {found}: remove the flag."
        )
    if cfg.regression_target and not metadata.regression:
        raise CannotStart(f"--regression-target conflicts with {stored}, which has {found}: remove the flag.")
    return metadata


def _from_flags(cfg: FairseqDataclass, data: Path, dictionary: Path) -> Metadata:
    """Return the metadata of data that fairseq's scripts made.

    Class names come from `label/dict.txt`. As in fairseq, `--num-classes` may be smaller or larger than the number
    of names: the first ones are used, or names `madeupword0000`, ... are added.
    """
    listed = () if cfg.regression_target else class_names(data)
    classes = cfg.num_classes
    if classes is None:
        classes = 1 if cfg.regression_target else len(listed) or None
    error = _label_error(classes, cfg, data)
    if error is not None:
        raise CannotStart(f"data folder {data} has no meta.json, {error}")

    if listed and len(listed) != classes:
        logger.warning(
            f"{data / 'label' / 'dict.txt'} has {len(listed)} classes ({', '.join(listed)}), expected {classes} "
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


def _label_error(classes: Optional[int], cfg: FairseqDataclass, data: Path) -> Optional[str]:
    """Return the end of an error message about invalid or unknown classes; None if they are valid."""
    if classes is None:
        return (
            "and no label/dict.txt with the class names: give --num-classes, give --regression-target for numeric "
            "labels, or make the data with `python -m preprocess.glue`."
        )
    if cfg.regression_target and classes != 1:
        return (
            f"and --num-classes {classes} conflicts with --regression-target: give --num-classes 1 for numeric labels, or "
            "remove --regression-target."
        )
    if not cfg.regression_target and classes < 2:
        found = f"--num-classes {classes}" if cfg.num_classes is not None else "one name in label/dict.txt"
        return f"and {found} is too few: give 2 or more, or --num-classes 1 with --regression-target for numeric labels."
    if not cfg.regression_target and not class_names(data) and any((data / "label").glob("*.idx")):
        return (
            "and labels without label/dict.txt, which defines their order: copy that file from the output folder of "
            "fairseq-preprocess."
        )
    return None
