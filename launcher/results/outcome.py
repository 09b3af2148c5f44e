"""How a run ended: its result, or the reason why it has none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    result   content of `result.json`; None without one
    problem  the reason, if there is no result
    skipped  nothing was trained: the run had ended before or, without a result, another launcher is training it
    note     a problem after the training, such as missing predictions
    """

    result: Mapping[str, Any] | None
    problem: str = ""
    skipped: bool = False
    note: str = ""

    @property
    def well(self) -> bool:
        """Whether the run is finished, predictions included."""
        return self.result is not None and not self.note

    @property
    def held(self) -> bool:
        """Whether another launcher is training the run."""
        return self.result is None and self.skipped


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a finished run; None if the run is not finished."""
    try:
        return json.loads((folder / "result.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
