"""The documentation site builds without a warning, and its tables show the flags that the code has."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from launcher.methods import find_methods
from tests.tiny import ROOT

pytestmark = pytest.mark.slow  # mkdocs starts in a process of its own

DOCS = ROOT / "docs"
METHODS = sorted(set(find_methods()) - {"none"})


SHARED = "--hard-weight --soft-weight --inter-weight --temperature --two-stage --first-weights".split()
# Flags of fairseq itself that every criterion reads.
FAIRSEQ = (
    "--ddp-backend --find-unused-parameters --fp16 --fp16-no-flatten-grads --memory-efficient-fp16".split()
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site and return its folder. Fails on a broken link, a missing page or a page outside the contents."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_no_marker_is_left_in_a_page(site):
    marker = re.compile(r"<!-- (options|figure|launcher)")
    assert [page for page in site.rglob("*.html") if marker.search(page.read_text())] == []


def test_a_method_page_has_its_figure_and_each_of_its_flags(site):
    for name in METHODS:
        page = site / "methods" / name / "index.html"
        text = text_of(page)
        assert "<svg" in page.read_text(), name
        own = set(find_methods()[name].flags) - {*SHARED, *FAIRSEQ}
        assert {flag for flag in own if flag not in text} == set()


def test_the_launcher_page_lists_the_flags_of_experiments(site):
    text = text_of(site / "launcher" / "index.html")
    flags = "--task --method --pass_dic --jobs --dry-run".split()
    assert [flag for flag in flags if flag not in text] == []


def test_every_page_is_in_the_table_of_contents():
    contents = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in DOCS.rglob("*.md") if str(page.relative_to(DOCS)) not in contents] == []


def test_commands_of_the_tutorial_are_those_that_the_readme_test_runs():
    def commands(page: Path) -> set[str]:
        found = re.findall(r"^```bash\n(.*?)^```", page.read_text(), flags=re.M | re.S)
        return {line for block in found for line in block.replace("\\\n", " ").splitlines() if line.strip()}

    assert commands(DOCS / "tutorial.md") <= commands(ROOT / "README.md")


def test_methods_without_a_mapping_are_listed():
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

    import fairseq_kd  # noqa: F401

    page = (DOCS / "methods" / "index.md").read_text()
    listed = re.search(r"methods without `--mapping` \(([^)]*)\)", page)[1]
    fields = {name: CRITERION_DATACLASS_REGISTRY[name].__dataclass_fields__ for name in METHODS}
    without = [name for name in METHODS if "mapping" not in fields[name]]
    assert re.findall(r"`(\w+)`", listed) == without
