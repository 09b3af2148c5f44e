"""One task, from its files to `<TASK>-bin`, in a temporary folder that is renamed when all is there."""

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from . import meta
from .encoders import Encoder
from .errors import DataError
from .folders import recover, replacing
from .indexed import IndexedWriter
from .rows import Rows
from .sources import Source
from .splits import read_splits
from .tasks import Task
from .tokenizer_files import SPECIALS_IN_PAIR
from .vocabulary import EOS, SPECIALS, write_dictionary

SPECIALS_IN_SINGLE = 2
BATCH = 8192  # rows encoded at once: enough to keep all cores busy, little memory held


def binarize(
    task: Task,
    sources: dict[str, Source],
    encoder: Encoder,
    options: meta.Options,
    out: Path,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
) -> dict | None:
    """Makes `<out>/<TASK>-bin`; returns its meta.json, or None where the folder is up to date already."""
    folder = out / f"{task.name}-bin"
    if recover(folder):
        report(f"{folder} is back: an earlier run was killed while it replaced it.")
    fingerprint = meta.fingerprint(task, encoder, options, sources)
    if _up_to_date(folder, fingerprint, encoder, options, overwrite):
        return None

    splits = read_splits(task, sources, options, report)
    with replacing(folder) as temporary:
        counts = _write(task, splits, encoder, options, temporary)
        for split, kept in counts.items():
            source = sources.get(split, sources.get("train"))  # --split-dev takes it out of the training file
            kept |= {"source": source.names, "sha256": source.sha256}
        described = meta.describe(task, encoder, options, sources, counts)
        meta.write(temporary, described)
    return described


def _up_to_date(
    folder: Path, fingerprint: str, encoder: Encoder, options: meta.Options, overwrite: bool
) -> bool:
    if not folder.exists():
        return False
    found = meta.read(folder)
    if found is None and any(folder.iterdir()):
        raise DataError(f"--out: {folder} exists without a meta.json, so it was not made here: move it away.")
    if overwrite or found is None:
        return False
    if found.get("made_from") != fingerprint:
        otherwise = meta.differences(found, encoder, meta.deciding(options))
        otherwise = otherwise or "from other files, or by a version that cut pairs otherwise"
        raise DataError(
            f"--out: {folder} was made otherwise ({otherwise}): add --overwrite to replace it, or choose another --out."
        )
    if not _complete(folder, found):
        raise DataError(f"--out: {folder} has lost files: add --overwrite to make it again.")
    return True


def _complete(folder: Path, found: dict) -> bool:
    inputs = ["input0", "input1"] if found["pairs"] else ["input0"]
    names = [
        f"{place}/{split}.{end}" for place in inputs for split in found["splits"] for end in ("bin", "idx")
    ]
    return all((folder / name).is_file() for name in names)


def _write(
    task: Task, splits: dict[str, Rows], encoder: Encoder, options: meta.Options, folder: Path
) -> dict:
    counts = {}
    inputs = [folder / f"input{i}" for i in range(len(task.text))]
    for place in (*inputs, folder / "label"):
        place.mkdir(parents=True)
    for place in inputs:
        if encoder.dictionary is not None:
            shutil.copyfile(encoder.dictionary, place / "dict.txt")
        else:
            write_dictionary(place / "dict.txt", encoder.symbols)

    for split, rows in splits.items():
        cut = _write_sentences(inputs, split, rows, encoder, _room(task, encoder, options))
        _write_labels(folder / "label", task, split, rows.labels)
        counts[split] = {
            "sentences": len(rows),
            "available": rows.available or len(rows),
            "dropped": rows.dropped.total(),
            "dropped_why": dict(rows.dropped),
            "truncated": cut,
            "empty": sum(not all(texts) for texts in zip(*rows.texts, strict=True)),
            "repaired": rows.repaired,
            "labelled": rows.labels is not None,
        }

    if not task.regression:
        numbers = Counter(splits["train"].labels if "train" in splits else [])
        write_dictionary(
            folder / "label" / "dict.txt", task.labels, [numbers[i] for i in range(task.num_classes)]
        )
    return counts


def _room(task: Task, encoder: Encoder, options: meta.Options) -> int:
    """Tokens left for text when a model's specials are counted."""
    specials = SPECIALS_IN_PAIR[encoder.pair_format] if task.pairs else SPECIALS_IN_SINGLE
    return options.max_positions - specials


def _write_sentences(inputs: list[Path], split: str, rows: Rows, encoder: Encoder, room: int) -> int:
    """Writes each text column into its folder; returns how many rows had to be cut."""
    cut = 0
    with ExitStack() as stack:
        vocabulary = len(SPECIALS) + len(encoder.symbols)
        writers = [stack.enter_context(IndexedWriter(place / split, vocabulary)) for place in inputs]

        for start in range(0, len(rows), BATCH):
            encoded = [encoder.encode(texts[start : start + BATCH]) for texts in rows.texts]
            cut += sum(shorten(sentences, room) for sentences in zip(*encoded, strict=True))
            for writer, sentences in zip(writers, encoded, strict=True):
                for sentence in sentences:
                    sentence.append(EOS)
                writer.add(sentences)
    return cut


def shorten(sentences: tuple[list[int], ...], room: int) -> bool:
    """Cuts a sentence, or the longer of a pair first, until `room` tokens are left; says whether it had to.

    The result equals that of transformers' `longest_first`. A sentence no longer than half the room stays whole. If both
    lose tokens, each keeps half the room, and an odd token goes to the longer one, or to the second of equally long ones.
    """
    if sum(map(len, sentences)) <= room:
        return False
    if len(sentences) == 1:
        del sentences[0][room:]
        return True

    # Stable: of equally long ones, the second counts as the longer.
    shorter, longer = sorted(sentences, key=len)
    kept = min(len(shorter), room // 2)
    del shorter[kept:]
    del longer[room - kept :]
    return True


def _write_labels(folder: Path, task: Task, split: str, labels: list[int] | list[float] | None) -> None:
    if labels is None:
        return
    if task.regression:
        text = "".join(f"{score!r}\n" for score in labels)
        (folder / f"{split}.label").write_text(text, encoding="utf-8")
        return

    # A row is one symbol and the end of sentence, as fairseq-preprocess makes it.
    with IndexedWriter(folder / split, len(SPECIALS) + task.num_classes) as writer:
        writer.add([[len(SPECIALS) + label, EOS] for label in labels])
