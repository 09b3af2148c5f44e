"""What the labels of sentences are: what meta.json says, or flags where there is none."""

from pathlib import Path
from typing import Optional

from fairseq.dataclass import FairseqDataclass

from ..data.metadata import Metadata, dictionary_hash, read_metadata
from ..errors import CannotStart


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
    """Of data that fairseq's own scripts made."""
    problem = _problem(cfg.num_classes, cfg.regression_target)
    if problem is not None:
        raise CannotStart(f"data folder {data} has no meta.json, {problem}")
    return Metadata(
        task=data.name,
        num_classes=cfg.num_classes,
        regression=cfg.regression_target,
        pairs=(data / "input1").is_dir(),
        pair_format="roberta",
        dictionary_hash=dictionary_hash(dictionary),
    )


def _problem(classes: Optional[int], regression: bool) -> Optional[str]:
    if classes is None:
        return (
            "which says what labels are: give --num-classes (1 with --regression-target), or make the data with `python "
            "-m preprocess.glue`."
        )
    if regression and classes != 1:
        return (
            f"and --num-classes {classes} with --regression-target says two things of the labels: give --num-classes 1 "
            "for numbers, or leave --regression-target out for classes."
        )
    if not regression and classes < 2:
        return (
            f"and --num-classes {classes} leaves nothing to tell apart: give 2 or more, or --num-classes 1 with "
            "--regression-target for numbers."
        )
    return None
