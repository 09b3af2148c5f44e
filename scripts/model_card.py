"""Writes the model card (README.md) of an exported model: what it is, how it was trained, what it scores and costs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import NAMES_IN_FOLDER

if TYPE_CHECKING:
    from fairseq_kd.models.checkpoint import Checkpoint

COMPARISON = "comparison.md"


def model_card(
    name: str,
    checkpoint: "Checkpoint",
    labels: Sequence[str],
    regression_scale: float | None,
    load: str,
    comparison: Path | None = None,
    onnx_only: bool = False,
) -> str:
    """Return the card as Markdown, with the metadata that Hugging Face reads before it.

    labels            class names in the order of the logits; () for regression or a model without a classifier
    regression_scale  factor from the output to the task's score; None for classes
    load              the Python call that loads the model, of the library `transformers`, or `onnxruntime` if `onnx_only`
    comparison        folder that `scripts/compare.py --out` wrote

    Raises CannotStart if the folder has no comparison.
    """
    task = checkpoint.config.get("fine_tuned_on")
    library = "onnxruntime" if onnx_only else "transformers"
    head = _front_matter("onnx" if onnx_only else library, bool(labels) or regression_scale is not None)
    parts = [head, f"# {name}", _summary(checkpoint, task)]
    if labels:
        named = (
            f"{number} {label}" if label != str(number) else label for number, label in enumerate(labels)
        )
        parts.append(f"Classes: {', '.join(named)}.")
    elif regression_scale is not None and regression_scale != 1:
        parts.append(f"The output is a number; times {regression_scale:g} it is the score of {task}.")
    parts += ["## Use", f"```python\nimport {library}\n\nmodel = {load}\n```"]
    if comparison is not None:
        parts += ["## Scores, size and speed", _read_comparison(comparison, checkpoint.path)]
    elif scores := _dev_scores(checkpoint.path):
        parts += ["## Scores", scores]
    if training := _training(checkpoint):
        parts += ["## Training", training]
    return "\n\n".join(parts) + "\n"


def _front_matter(library: str, classifies: bool) -> str:
    lines = [f"library_name: {library}", "tags: [knowledge-distillation, fairseq_kd]"]
    lines += ["pipeline_tag: text-classification"] if classifies else []
    return "\n".join(["---", *lines, "---"])


def _summary(checkpoint: "Checkpoint", task: str | None) -> str:
    criterion = (checkpoint.criterion or {}).get("_name")
    teacher = (checkpoint.run.get("task") or {}).get("teacher")
    what = f"A {'student' if teacher else 'model'} with {checkpoint.shape}"
    what += f", fine-tuned on {task}" if task else ""
    if teacher and criterion:
        what += f", distilled from `{_short(Path(teacher))}` with the method `{criterion}` of fairseq_kd"
    return f"{what}."


def _short(path: Path) -> str:
    return path.parent.name if path.name in NAMES_IN_FOLDER else path.name


def model_names(path: Path) -> tuple[str, str]:
    """Return the names that a checkpoint may have in comparisons: its folder, and file if not the best.

    The second name also has the folder above, for models in folders of one name.
    """
    name = path.parent.name if path.name in NAMES_IN_FOLDER else f"{path.parent.name}/{path.name}"
    return name, f"{path.absolute().parents[1].name}/{name}"


def _read_comparison(folder: Path, checkpoint: Path) -> str:
    path, made_by = folder / COMPARISON, f"scripts/compare.py --out {folder}"
    if not path.is_file():
        raise CannotStart(
            f"--comparison {folder} has no {COMPARISON}: make it with {made_by}.", doing="export"
        )
    text, names = path.read_text(encoding="utf-8").strip(), model_names(checkpoint)
    header = text.split("\n")[0]
    if not any(f"| {name} |" in header for name in names):
        raise CannotStart(
            f"--comparison {folder} has no column of {names[0]}: compare this model, too, with {made_by}.",
            doing="export",
        )
    return text


def _dev_scores(checkpoint: Path) -> str:
    """Return the scores of a run's best checkpoint; empty for other ones, or if the launcher did not train it."""
    if checkpoint.name not in NAMES_IN_FOLDER:
        return ""
    try:
        scores = json.loads(checkpoint.with_name("result.json").read_text(encoding="utf-8"))["at_best"]
    except (OSError, ValueError, KeyError):
        return ""
    rows = [
        f"| {split} | {metric} | {value:.2f} |"
        for split, found in scores.items()
        for metric, value in found.items()
    ]
    return "\n".join(["| split | metric | value |", "|---|---|---|", *rows]) if rows else ""


def _training(checkpoint: "Checkpoint") -> str:
    """Return settings and versions of the run, as far as they are known; no paths, which are private."""
    settings, lines = _settings(checkpoint.run), []
    if settings:
        lines.append(f"Settings: {settings}.")
    try:
        environment = json.loads((checkpoint.path.parent / "environment.json").read_text(encoding="utf-8"))
        versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        changed = " with uncommitted changes" if environment.get("modified") else ""
        lines.append(f"Versions: {versions}, fairseq_kd at commit {environment['commit']}{changed}.")
    except (OSError, ValueError, KeyError):
        pass  # not trained by the launcher
    return "\n\n".join(lines)


def _settings(run: Mapping[str, Any]) -> str:
    """Return the settings that matter most, from the configuration that fairseq saved."""
    wanted = {
        "batch size": ("dataset", "batch_size"),
        "workers": ("distributed_training", "distributed_world_size"),
        "batches per update": ("optimization", "update_freq"),
        "learning rate": ("optimization", "lr"),
        "epochs": ("optimization", "max_epoch"),
        "updates": ("optimization", "max_update"),
        "seed": ("common", "seed"),
    }
    found = {name: (run.get(section) or {}).get(key) for name, (section, key) in wanted.items()}
    texts = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in found.items()
    }
    usual = {"workers": 1, "batches per update": "1"}
    return "; ".join(f"{name} {text}" for name, text in texts.items() if text and text != usual.get(name))
