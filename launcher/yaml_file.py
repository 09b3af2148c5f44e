"""YAML files of the user's."""

from pathlib import Path
from typing import Any


def read_yaml(path: Path, flag: str) -> Any:
    """What is in a YAML (or JSON) file; ValueError names the file, and the line that cannot be read."""
    try:
        import yaml
    except ImportError:
        raise ValueError(f"{flag} needs PyYAML: run `bash scripts/setup.sh`, or pip install pyyaml") from None

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{flag} {path} cannot be read ({error.strerror}): name a file that can") from None
    except UnicodeDecodeError:
        raise ValueError(f"{flag} {path} is no text in UTF-8: name a YAML file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ValueError(f"{flag} {path}{line} is not YAML ({problem}): mend that line") from None
