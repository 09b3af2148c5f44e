"""Composes the report as one HTML file, from the template `page.html.j2`.

The page has the same tables, plots and notes as the Markdown report, the learned weights of teacher layers, and the
command of each run. It loads no other file: plots are data URIs.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import jinja2
from markupsafe import Markup, escape

from ..results.cells import Cell
from ..results.runs import Run
from .document import Report, ShownDifference, Table, body, provenance, reading, runs_of, with_counts
from .plots import DPI
from .study import Study

CSS_DPI = 96

# Metrics of a validation that are weights of teacher layers: the attention of `alp_kd` and the gates of `lad`.
ALPHA = re.compile(r"alpha_(\d+)_(\d+)")
GATE = re.compile(r"gate_(\d+)")

# The time at which fairseq-train, or fairseq-hydra-train, wrote a line.
LOGGED_AT = re.compile(r"\[?(\d{4}-\d\d-\d\d \d\d:\d\d)")


class Matrix(NamedTuple):
    """A table of values from 0 to 1, which are also shown as colours; None is an empty field.

    rows  title -> a value for each column
    """

    caption: str
    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]


def page(report: Report, cells: Sequence[Cell]) -> str:
    """Return the report as HTML; `cells` are those of all studies, tried ones included."""

    def inline(text: object) -> Markup:
        """Convert code and bold of Markdown, and escape everything else."""
        marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(str(text))))
        return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", marked))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": inline, "image": image}
    environment.tests |= {
        "table": lambda part: isinstance(part, Table),
        "difference": lambda value: isinstance(value, ShownDifference),
    }
    return environment.get_template("page.html.j2").render(
        report=report,
        reading=reading(report),
        summary=_summary(report, cells),
        body=body,
        widest=widest,
        titles=titles,
        commands=commands,
        attention=attention_matrices,
        gates=gate_matrix,
    )


class Image(NamedTuple):
    """A plot as a URI that contains it, and its size in CSS pixels."""

    uri: str
    width: int
    height: int


def image(png: Path) -> Image:
    """Read a plot; its size is that of the figure in inches."""
    content = png.read_bytes()
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Image(uri, round(width * CSS_DPI / DPI), round(height * CSS_DPI / DPI))


def _summary(report: Report, cells: Sequence[Cell]) -> dict[str, str]:
    """Return title -> text; without what no run recorded."""
    texts = {
        "Tasks": ", ".join(study.task for study in report.studies),
        "Runs": report.progress,
        **{f"{kind[0].upper()}{kind[1:]}": with_counts(found) for kind, found in provenance(cells).items()},
        "Newest run": max(filter(None, map(_last_logged, runs_of(cells))), default=""),
    }
    return {title: text for title, text in texts.items() if text}


def _last_logged(run: Run) -> str | None:
    """Return the time of the last line of the run's log that has one, in minutes."""
    try:
        with open(run.folder / "log.txt", encoding="utf-8", errors="replace") as lines:
            return max((match[1] for line in lines if (match := LOGGED_AT.match(line))), default=None)
    except OSError:
        return None


def titles(study: Study) -> dict[Cell, str]:
    """Return the name of each cell, with its init."""
    return {cell: f"{name}, init {cell.init}" for cell, name in study.names.items()}


def commands(cell: Cell) -> dict[str, str]:
    """Return run -> its command, by seed and stage; runs of older versions have none."""
    found = {}
    for run in sorted(cell.trainings, key=lambda run: (run.spec.seed, bool(run.spec.after))):
        try:
            found[run.name] = (run.folder / "command.txt").read_text("utf-8").strip()
        except OSError:
            continue
    return found


def widest(table: Table) -> float:
    """Return the largest absolute value in the intervals of a table, which scales their drawings; 0 without intervals."""
    shown = [value.found for row in table.rows for value in row if isinstance(value, ShownDifference)]
    return max((abs(end) for found in shown for end in (found.low, found.high)), default=0.0)


def attention_matrices(study: Study) -> list[Matrix]:
    """Return the attention of each cell that learned one: a row per student layer, the highest first."""
    found = []
    for name, shares in _learned(study, ALPHA).items():
        layers, reached = (range(1, 1 + max(pair[side] for pair in shares)) for side in (0, 1))
        rows = {str(i): [shares.get((i, j)) for j in reached] for i in reversed(layers)}
        found.append(Matrix(name, "student layer", [str(j) for j in reached], rows))
    return found


def gate_matrix(study: Study) -> Matrix | None:
    """Return the gates, with a row for each cell that learned them; None without such cells."""
    of_cells = _learned(study, GATE)
    if not of_cells:
        return None
    layers = sorted({layer for values in of_cells.values() for layer in values})
    rows = {name: [values.get(layer) for layer in layers] for name, values in of_cells.items()}
    return Matrix("", "cell", [str(layer) for (layer,) in layers], rows)


def _learned(study: Study, metric: re.Pattern[str]) -> dict[str, dict[tuple[int, ...], float]]:
    """Return name of a cell -> numbers in the name of a metric -> mean over seeds; without cells that lack the metric.

    Scores are those at the best checkpoint of the stage that logs the metric.
    """
    found = {}
    for cell, title in titles(study).items():
        values: dict[tuple[int, ...], list[float]] = {}
        for run in cell.trainings:
            for name, value in run.result["at_best"].get("valid", {}).items():
                if match := metric.fullmatch(name):
                    values.setdefault(tuple(map(int, match.groups())), []).append(value)
        if values:
            found[title] = {layers: mean(of_seeds) for layers, of_seeds in values.items()}
    return found
