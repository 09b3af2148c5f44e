"""The plugin is asked once for what does not change, and a broken environment is one sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest

import experiments
from launcher import plugin
from launcher.datasets import Data
from launcher.execution.command import train_command
from launcher.methods import Method
from launcher.paths import PLUGIN
from launcher.planning.expand import OWN_MAPPING, Grid, plan, settle
from launcher.planning.job import Job

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
    """The methods of a copy of the plugin with one more file."""
    copy = tmp_path_factory.mktemp("copy") / PLUGIN.name
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "criterions" / "mine.py").write_text(OWN_CRITERIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(copy.parent / "cache"))
        patch.setattr(plugin, "PLUGIN", copy)
        patch.setattr(plugin, "ROOT", copy.parent)
        described, _ = plugin.ask()
    return {name: Method(**each) for name, each in described.items()}


def own_grid(methods, names: tuple[str, ...], **changes) -> Grid:
    one = {
        "tasks": ("RTE",),
        "inits": ("0,1,2",),
        "mappings": (OWN_MAPPING,),
        "stages": ("two",),
        "seeds": (1,),
    }
    return Grid(methods=names, known=methods, epochs=1, first_epochs=1, **one | changes)


def test_a_criterion_of_the_users_is_planned_by_its_class(own_methods):
    flags = ("--inter-weight", "0.25", "--lens-power", "2")
    grid = own_grid(own_methods, ("lens", "direction", "alone", "alone_by_layers"), flags=flags)
    runs = plan(settle(grid), {"RTE": DATA}, {"RTE": "t"}, {})
    assert {(run.method, run.stage): (run.mapping, run.flags) for run in runs} == {
        ("lens", "first"): ("last", flags),
        ("lens", "second"): ("last", ()),
        ("direction", "first"): ("skip", flags[:2]),
        ("direction", "second"): ("skip", ()),
        ("alone", "one"): ("", flags[:2]),
        ("alone_by_layers", "one"): ("skip", flags[:2]),
    }


def test_a_mixture_is_planned_for_those_of_the_users_that_allow_it(own_methods):
    mixed = {"mappings": ("combine",)}
    assert settle(own_grid(own_methods, ("direction", "alone"), **mixed)).mappings == ("combine",)
    for method in ("lens", "alone_by_layers"):
        with pytest.raises(ValueError, match=f"--mapping combine .* --method {method} compares pairs"):
            settle(own_grid(own_methods, (method,), **mixed))


def test_a_criterion_of_the_users_without_a_teacher_is_given_none(own_methods):
    [run] = plan(own_grid(own_methods, ("alone_by_layers",)), {"RTE": DATA}, {"RTE": "t"}, {})
    words = train_command(Job(run, Path("r"), DATA, "fairseq-train", cpu=True, start=Path("t.pt")))
    assert "--criterion alone_by_layers --mapping skip --optimizer" in " ".join(words)
    assert "--teacher" not in words


@pytest.fixture
def python(trainer) -> Path:
    """The Python beside the trainer; it counts its calls, and other variables break it."""
    path = trainer.with_name("python")
    lines = path.read_text().split("\n", 1)
    path.write_text(
        f"{lines[0]}\nfrom pathlib import Path\nwith open({str(path) + '.calls'!r}, 'a') as f: f.write('.')\n{lines[1]}"
    )
    return path


def calls(python: Path) -> int:
    count = python.with_name("python.calls")
    return len(count.read_text()) if count.exists() else 0


def test_the_plugin_is_asked_once_for_criterions_and_for_each_checkpoint(python, trainer, tmp_path):
    model = tmp_path / "model.pt"
    model.write_text("6")
    for expected in (1, 1):
        assert "kd" in plugin.ask(str(trainer))[0]
        assert calls(python) == expected
    for expected in (2, 2):
        assert plugin.ask(str(trainer), [model])[1] == {model: {"layers": 6}}
        assert calls(python) == expected
    model.write_text("12")
    assert plugin.ask(str(trainer), [model])[1] == {model: {"layers": 12}}
    assert calls(python) == 3


def test_other_sources_or_another_fairseq_are_asked_about_again(python, trainer, tmp_path, monkeypatch):
    plugin.ask(str(trainer))
    monkeypatch.setattr(plugin, "_sources", lambda: "other")
    plugin.ask(str(trainer))
    assert calls(python) == 2

    description = trainer.with_name("description.json")
    version = tmp_path / "version.py"
    version.write_text("0.12.2")
    description.write_text(
        json.dumps(json.loads(description.read_text()) | {"fairseq": [str(version), "0.12.2"]})
    )
    monkeypatch.setattr(plugin, "_sources", lambda: "another")
    for _ in range(2):
        plugin.ask(str(trainer))
    assert calls(python) == 3
    version.write_text("0.12.3")
    plugin.ask(str(trainer))
    assert calls(python) == 4


@pytest.mark.parametrize("broken", ["a file in the way", "{", "[]"])
def test_a_cache_that_cannot_be_used_fails_nothing(python, trainer, tmp_path, monkeypatch, broken):
    if broken == "a file in the way":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        plugin.ask(str(trainer))
        [kept] = (tmp_path / "cache" / PLUGIN.name).iterdir()
        kept.write_text(broken)
    assert "kd" in plugin.ask(str(trainer))[0]


def test_a_program_that_prints_more_is_understood(python, trainer):
    python.write_text(python.read_text().replace("print(json", "print('imported'); print(json"))
    assert "kd" in plugin.ask(str(trainer))[0]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (RAISING, "NameError: name 'x' is not defined, /x/mine.py:3)"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho what\n", "JSONDecodeError"),
        ("#!/no/such/program\n", "FileNotFoundError"),
    ],
)
def test_a_broken_environment_is_one_sentence(python, call, capsys, script, found):
    python.write_text(script)
    os.chmod(python, 0o755)
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, "--method", "kd", "--dry-run"])
    assert stopped.value.code == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"Cannot start: {python} cannot import the plugin ({found}")
    assert "run `bash scripts/setup.sh`" in sentence


def test_help_lists_methods_and_needs_no_environment(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        experiments.main(["--help"])
    told = capsys.readouterr().out
    assert "  pkd-skip  pkd\n" in told
    assert "  last      minilm, minilm_v2, pearson\n" in told

    monkeypatch.setattr("launcher.options.find_methods", lambda: plugin.ask("no-such-program"))
    with pytest.raises(SystemExit) as stopped:
        experiments.main(["--help"])
    assert stopped.value.code == 0
    assert "The methods are not known: --trainer no-such-program is not a program" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_read_is_said_before_anything_starts(call, trainer, capsys):
    python = trainer.with_name("python")
    problem = 'dict(problem="the model is damaged.") or {"layers"'
    python.write_text(python.read_text().replace('{"layers"', problem))
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, "--method", "kd", "--dry-run"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "Cannot start: the model is damaged.\n"
