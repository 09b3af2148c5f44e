"""Fills the markers of the documentation's pages while mkdocs builds the site.

`<!-- options: NAME -->`  the flags of a criterion, with help and default
`<!-- launcher -->`       the flags of `experiments.py`
`<!-- figure: KIND -->`   a drawing, see `figures.py`

So the tables always match the code, and no generated text is committed.
"""

import argparse
import functools
import html
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKER = re.compile(r"^<!-- (options|launcher|figure)(?:: (.+?))? -->$", re.MULTILINE)

# Described once, on the page that lists all methods.
SHARED_FLAGS = ("hard_weight", "soft_weight", "inter_weight", "temperature", "two_stage", "first_weights")


def on_page_markdown(markdown: str, **_) -> str:
    """Return a page with its markers filled; mkdocs calls this for each page."""
    return MARKER.sub(_filled, markdown)


def _filled(marker: re.Match) -> str:
    kind, argument = marker.groups()
    if kind == "figure":
        return _figures().draw(*argument.split())
    return launcher_flags() if kind == "launcher" else criterion_flags(argument)


@functools.cache
def _figures():
    # mkdocs loads this file by its path, so a plain import would not find its neighbour.
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    import figures

    return figures


def criterion_flags(name: str) -> str:
    """Return a table of the flags that only this criterion has; NAME `shared` lists the flags of all criterions."""
    _figures()
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

    import fairseq_kd  # noqa: F401 - registers the criterions

    config = CRITERION_DATACLASS_REGISTRY["hidden_mse_learn" if name == "shared" else name]()
    rows = []
    for field, help_text in _documented(config):
        if (field in SHARED_FLAGS) == (name == "shared"):
            rows.append((_flag(field), help_text))
    return _table(rows) if rows else "It has only the [flags of all methods](index.md#flags-of-all-methods)."


def launcher_flags() -> str:
    """Return one table of flags for each group of `experiments.py --help`."""
    _figures()
    from launcher.cli import make_parser

    sections = []
    for group in make_parser(None)._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions:
            sections.append(
                f"### {group.title.capitalize()}\n\n{_table([_row(action) for action in actions])}"
            )
    return "\n\n".join(sections)


def _documented(config) -> list[tuple[str, str]]:
    fields = config.__dataclass_fields__
    return [(name, field.metadata["help"]) for name, field in fields.items() if "help" in field.metadata]


def _row(action: argparse.Action) -> tuple[str, str]:
    value = f" {action.metavar}" if action.metavar and action.nargs != 0 else ""
    return ", ".join(f"`{name}{value}`" for name in action.option_strings), action.help or ""


def _flag(field: str) -> str:
    return f"`--{field.replace('_', '-')}`"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = [f"| {name} | {html.escape(text, quote=False).replace('|', '&#124;')} |" for name, text in rows]
    return "\n".join(["| flag | meaning |", "|---|---|", *cells])
