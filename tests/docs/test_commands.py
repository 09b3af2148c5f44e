"""The commands of pages whose commands no other test runs: every flag exists and takes the value that is given."""

import re
import shlex
from pathlib import Path

import pytest

from launcher.cli import read_arguments
from preprocess import augment, custom
from scripts import compare, convert_hf, finetune_teacher, predict

ROOT = Path(__file__).parents[2]
PARSE = {
    "preprocess.custom": lambda words: custom._parser().parse_args(words),
    "preprocess.augment": lambda words: augment._parser().parse_args(words),
    "scripts/compare.py": lambda words: compare._parser().parse_args(words),
    "scripts/convert_hf.py": lambda words: convert_hf._parser().parse_args(words),
    "scripts/finetune_teacher.py": lambda words: finetune_teacher._parser().parse_args(words),
    "scripts/predict.py": lambda words: predict._parser().parse_args(words),
    "experiments.py": lambda words: words == ["report"] or read_arguments("", words),
}


def commands(page: str) -> list[list[str]]:
    """Return the words of each command of these programs in the page, without the program and redirections."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = (re.search(r"python (?:-m )?(\S+) ?(.*)", re.sub(r" > .*", "", line)) for line in lines)
    return [[match[1], *shlex.split(match[2])] for match in found if match and match[1] in PARSE]


@pytest.mark.parametrize(("page", "number"), [("own_task.md", 11), ("exporting.md", 3)])
def test_each_command_is_accepted(page, number):
    listed = commands(page)
    assert len(listed) >= number
    for program, *words in listed:
        assert PARSE[program](words), f"{program} {shlex.join(words)}"


def test_the_example_of_a_task_file_has_known_settings(tmp_path):
    [text] = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/own_task.md").read_text(), re.M | re.S)
    (tmp_path / "topics.yaml").write_text(text)
    flags, settings = custom._read_task_file(tmp_path / "topics.yaml", custom._parser())
    assert settings == {"batch_size": 32, "lr": 3e-5}
    assert custom._parser().parse_args([*flags, "--encoder-dir", "models"]).text == ["title", "body"]
