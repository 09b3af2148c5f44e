"""The plugin is asked once about the same thing, and a broken environment is one sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest

from launcher import plugin
from launcher.config import Grid, GridConfig
from launcher.datasets import Data
from launcher.execution.command import train_flags
from launcher.methods import Method
from launcher.planning.expand import plan
from launcher.planning.job import Job
from launcher.plugin import PLUGIN

# Configs are imported as attributes; no name begins as those of the plugin's own methods do.
OWN_CRITERIONS = """
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from omegaconf import II

from . import config, distillation
from .transfer import AttentionTransfer, HiddenTransfer


@dataclass
class LensConfig(config.IntermediateConfig):
    mapping: str = field(default="last", metadata={"help": "as everywhere"})
    lens_power: float = field(default=1.0, metadata={"help": "exponent"})
    amp: bool = II("common.amp")


@register_criterion("lens", dataclass=LensConfig)
class Lens(distillation.DistillationCriterion):
    pass


@register_criterion("direction", dataclass=config.IntermediateConfig)
class Direction(distillation.DistillationCriterion):
    mixes_states = True


@register_criterion("alone", dataclass=config.OwnTermsConfig)
class Alone(distillation.DistillationCriterion):
    needs_teacher = False


@register_criterion("alone_by_layers", dataclass=config.IntermediateConfig)
class AloneByLayers(distillation.DistillationCriterion):
    needs_teacher = False
    needs_classes = "groups sentences by label"
"""

RAISING = """#!/bin/sh
cat >&2 <<END
  File "/x/describe.py", line 9, in <module>
  File "/x/mine.py", line 3, in <module>
NameError: name 'x' is not defined
END
exit 1
"""

DATA = Data(Path("data"), 2490, "accuracy", ("valid",), "d")


@pytest.fixture(scope="module")
def own_methods(tmp_path_factory) -> dict[str, Method]:
    """Return the methods of a copy of the plugin with one more file."""
    copy = tmp_path_factory.mktemp("copy") / PLUGIN.name
    shutil.copytree(PLUGIN, copy)
    (copy / "criterions" / "mine.py").write_text(OWN_CRITERIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(copy.parent / "cache"))
        patch.setattr(plugin, "PLUGIN", copy)
        patch.setattr(plugin, "ROOT", copy.parent)
        described = plugin.describe_criterions()
    return {name: Method(**each) for name, each in described.items()}


@pytest.mark.slow
def test_a_criterion_of_the_user_is_planned_by_its_class(own_methods):
    overrides = {"--inter-weight": "0.25", "--lens-power": "2"}
    names = ["lens", "direction", "alone", "alone_by_layers"]
    grid = Grid(GridConfig(task=["RTE"], method=names, seeds=[1]), own_methods, overrides)
    runs = plan(grid, {"RTE": DATA}, {"RTE": "t"}, {})
    weight = {"--inter-weight": "0.25"}
    assert {(run.method, run.stage): (run.mapping, run.overrides) for run in runs} == {
        ("lens", "first"): ("last", overrides),
        ("lens", "second"): ("last", {}),
        ("direction", "first"): ("skip", weight),
        ("direction", "second"): ("skip", {}),
        ("alone", "one"): ("", weight),
        ("alone_by_layers", "one"): ("skip", weight),
    }
    assert [own_methods[name].mixes_states for name in names] == [False, True, False, False]
    assert own_methods["alone_by_layers"].needs_classes == "groups sentences by label"

    flags = train_flags(Job(runs[-1], Path("r"), DATA, "fairseq-train", cpu=True, start=Path("t.pt")))
    assert (flags["--criterion"], flags["--mapping"]) == ("alone_by_layers", "skip")
    assert "--teacher" not in flags


@pytest.fixture
def python(trainer) -> Path:
    """Return the Python beside the trainer, which counts its calls."""
    path = trainer.with_name("python")
    lines = path.read_text().split("\n", 1)
    counting = f"with open({str(path) + '.calls'!r}, 'a') as calls: calls.write('.')"
    # Other lines before the answer are skipped.
    path.write_text(f"{lines[0]}\nprint('imported')\n{counting}\n{lines[1]}")
    return path


def calls(python: Path) -> int:
    count = python.with_name("python.calls")
    return len(count.read_text()) if count.exists() else 0


def test_the_plugin_is_asked_once_for_criterions_and_for_each_checkpoint(python, trainer, tmp_path):
    model = tmp_path / "model.pt"
    for _ in range(2):
        assert "kd" in plugin.describe_criterions(str(trainer))
        assert calls(python) == 1
    for layers, expected in (("6", 2), ("6", 2), ("12", 3)):
        if not model.exists() or model.read_text() != layers:
            model.write_text(layers)
        assert plugin.describe(str(trainer), [model]) == {model: {"layers": int(layers), "positions": 512}}
        assert calls(python) == expected


def test_other_sources_or_another_fairseq_are_asked_about_again(python, trainer, tmp_path, monkeypatch):
    version, description = tmp_path / "version.py", trainer.with_name("description.json")
    version.write_text("0.12.2")
    described = json.loads(description.read_text()) | {"fairseq": [str(version), "0.12.2"]}
    description.write_text(json.dumps(described))
    for sources, text, expected in (
        ("a", "0.12.2", 1),
        ("a", "0.12.2", 1),
        ("b", "0.12.2", 2),
        ("b", "0.12.3", 3),
    ):
        monkeypatch.setattr(plugin, "_sources", lambda sources=sources: sources)
        version.write_text(text)
        plugin.describe_criterions(str(trainer))
        assert calls(python) == expected


@pytest.mark.parametrize("broken", ["a file in the way", "{", "[]"])
def test_a_cache_that_cannot_be_used_fails_nothing(python, trainer, tmp_path, monkeypatch, broken):
    if broken == "a file in the way":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        plugin.describe_criterions(str(trainer))
        [kept] = (tmp_path / "cache" / PLUGIN.name).iterdir()
        kept.write_text(broken)
    assert "kd" in plugin.describe_criterions(str(trainer))


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (RAISING, "NameError: name 'x' is not defined, /x/mine.py:3)"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho what\n", "JSONDecodeError"),
        ("#!/no/such/program\n", "FileNotFoundError"),
    ],
)
def test_a_broken_environment_is_one_sentence(python, call, refused, script, found):
    python.write_text(script)
    os.chmod(python, 0o755)
    [sentence] = refused(*call, "--method", "kd", "--dry-run").splitlines()
    assert sentence.startswith(f"Cannot start: {python} cannot import the plugin ({found}")
    assert "run `bash scripts/setup.sh`" in sentence
