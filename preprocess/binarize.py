"""Binarizes one task into `<TASK>-bin`; writes to a temporary folder and renames it at the end."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import meta
from .atomic_folder import atomic_folder, recover
from .encoders import Encoder
from .errors import DataError
from .indexed import IndexedWriter
from .rows import Rows
from .sources import Source
from .splits import read_splits
from .tasks import Task
from .tokenizer_files import SPECIALS_IN_PAIR
from .vocabulary import EOS, SPECIALS, write_dictionary

SPECIALS_IN_SINGLE = 2
BATCH = 8192  # rows encoded at once: enough to keep all cores busy with little memory


def binarize(
    task: Task,
    sources: dict[str, Source],
    encoder: Encoder,
    options: meta.Options,
    out: Path,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
    settings: dict[str, Any] | None = None,
) -> dict | None:
    """Create `<out>/<TASK>-bin` and return its meta.json, or None if the folder is up to date.

    settings  training settings to store in meta.json
    """
    folder = out / f"{task.name}-bin"
    if recover(folder):
        report(f"{folder} was restored: an earlier run was killed while it replaced the folder.")
    inputs_hash = meta.inputs_hash(task, encoder, options, sources)
    if _up_to_date(folder, inputs_hash, encoder, options, overwrite):
        _update_settings(folder, task, settings)
        return None

    splits = read_splits(task, sources, options, report)
    before = (meta.read(folder) or {}).get("splits", {})
    if made := [split for split, counts in before.items() if "augmented" in counts]:
        report(
            f"{folder}: the split {', '.join(made)} of preprocess.augment is removed with the old data: make it again."
        )
    with atomic_folder(folder) as temporary:
        counts = _write(task, splits, encoder, options, temporary)
        for split, kept in counts.items():
            # --split-dev takes the dev set from the training file.
            source = sources.get(split, sources.get("train"))
            kept |= {"source": source.names, "sha256": source.sha256}
        described = meta.describe(task, encoder, options, sources, counts)
        if settings is not None:
            described["settings"] = settings
        meta.write(temporary, described)
    return described


def _up_to_date(
    folder: Path, inputs_hash: str, encoder: Encoder, options: meta.Options, overwrite: bool
) -> bool:
    if not folder.exists():
        return False
    found = meta.read(folder)
    if found is None and any(folder.iterdir()):
        raise DataError(f"--out: {folder} has no meta.json, so this command did not create it: move it away.")
    if overwrite or found is None:
        return False
    if found.get("made_from") != inputs_hash:
        changes = meta.differences(found, encoder, meta.relevant_options(options))
        changes = changes or "other input files, columns or classes"
        raise DataError(
            f"--out: {folder} was made with other settings ({changes}): add --overwrite to replace it, or choose another "
            "--out."
        )
    if not _complete(folder, found):
        raise DataError(f"--out: files are missing from {folder}: add --overwrite to make it again.")
    return True


def _update_settings(folder: Path, task: Task, settings: dict[str, Any] | None) -> None:
    """Write the metric and the training settings into meta.json; the data does not depend on them."""
    found = meta.read(folder)
    changed = found | {"metric": task.metric}
    if settings is not None:
        changed["settings"] = settings
    if changed != found:
        meta.write(folder, changed)


def _complete(folder: Path, found: dict) -> bool:
    inputs = ["input0", "input1"] if found["pairs"] else ["input0"]
    names = [
        f"{name}/{split}.{end}" for name in inputs for split in found["splits"] for end in ("bin", "idx")
    ]
    return all((folder / name).is_file() for name in names)


def _write(
    task: Task, splits: dict[str, Rows], encoder: Encoder, options: meta.Options, folder: Path
) -> dict:
    counts = {}
    inputs = [folder / f"input{i}" for i in range(len(task.text))]
    for subfolder in (*inputs, folder / "label"):
        subfolder.mkdir(parents=True)
    for subfolder in inputs:
        if encoder.dictionary is not None:
            shutil.copyfile(encoder.dictionary, subfolder / "dict.txt")
        else:
            write_dictionary(subfolder / "dict.txt", encoder.symbols)

    for split, rows in splits.items():
        cut = _write_sentences(inputs, split, rows, encoder, _max_text_tokens(task, encoder, options))
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


def _max_text_tokens(task: Task, encoder: Encoder, options: meta.Options) -> int:
    """Return the maximum number of text tokens, without the model's special tokens."""
    specials = SPECIALS_IN_PAIR[encoder.pair_format] if task.pairs else SPECIALS_IN_SINGLE
    return options.max_positions - specials


def _write_sentences(inputs: list[Path], split: str, rows: Rows, encoder: Encoder, limit: int) -> int:
    """Write each text column into its folder and return the number of truncated rows."""
    cut = 0
    with ExitStack() as stack:
        vocabulary = len(SPECIALS) + len(encoder.symbols)
        writers = [stack.enter_context(IndexedWriter(folder / split, vocabulary)) for folder in inputs]

        for start in range(0, len(rows), BATCH):
            encoded = [encoder.encode(texts[start : start + BATCH]) for texts in rows.texts]
            cut += sum(shorten(sentences, limit) for sentences in zip(*encoded, strict=True))
            for writer, sentences in zip(writers, encoded, strict=True):
                for sentence in sentences:
                    sentence.append(EOS)
                writer.add(sentences)
    return cut


def shorten(sentences: tuple[list[int], ...], limit: int) -> bool:
    """Truncate a sentence or pair in place to `limit` tokens; return whether tokens were removed.

    Equals `longest_first` of transformers: the longer sentence of a pair is cut first. A sentence of at most half
    the limit is not cut. If both are cut, each keeps half the limit. With an odd limit, the longer sentence keeps one
    token more; of equally long sentences, the second does.
    """
    if sum(map(len, sentences)) <= limit:
        return False
    if len(sentences) == 1:
        del sentences[0][limit:]
        return True

    # The sort is stable: of equally long sentences, the second counts as the longer.
    shorter, longer = sorted(sentences, key=len)
    kept = min(len(shorter), limit // 2)
    del shorter[kept:]
    del longer[limit - kept :]
    return True


def _write_labels(folder: Path, task: Task, split: str, labels: Sequence[float] | None) -> None:
    if labels is None:
        return
    if task.regression:
        text = "".join(f"{score!r}\n" for score in labels)
        (folder / f"{split}.label").write_text(text, encoding="utf-8")
        return

    # A row has one symbol and the end of sentence, as in fairseq-preprocess.
    with IndexedWriter(folder / split, len(SPECIALS) + task.num_classes) as writer:
        writer.add([[len(SPECIALS) + int(label), EOS] for label in labels])
