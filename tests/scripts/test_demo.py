"""`scripts/demo.sh`: its errors before set-up, its folders and its commands."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import bash
from tests.tiny import ROOT

UPDATES = (
    "--max-update 240 --total-num-update 240 --warmup-updates 24 "
    "--save-interval-updates 100 --keep-interval-updates 1 --validate-interval 100"
)
DEMO = ROOT / "scripts" / "demo.sh"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the demo, and scripts that only print their arguments."""
    scripts = tmp_path / "project" / "scripts"
    scripts.mkdir(parents=True)
    for name in ("demo.sh", "help.sh"):
        shutil.copy(DEMO.with_name(name), scripts)
    for name in ("setup.sh", "fetch_minilm.sh"):
        (scripts / name).write_text(f'echo "{name} $*"\n')
    # Both make an empty training file: the download if there is a network, and make_small_glue.py.
    make = 'mkdir -p "$folder/SST-2" && touch "$folder/SST-2/train.tsv"\n'
    (scripts / "download_glue.sh").write_text(
        f'[ "$1" = --check ] && shift; echo "download $*"; [ -n "${{ONLINE:-}}" ] || exit 1; folder=$1; {make}'
    )

    python = scripts.parent / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    made_up = f'case "$1" in *make_small_glue.py) folder=$2; {make.strip()};; esac'
    no_gpu = '[ "$1" = -c ] && exit 1'  # torch sees none
    python.write_text(f'#!/bin/sh\n{no_gpu}\necho "python $*"\n{made_up}\n')
    python.chmod(0o755)
    return scripts.parent


def demo(*arguments: str, script: Path = DEMO, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "GLUE_DIR"}
    return bash(script, *arguments, env={**environment, **variables})


def glue(folder: Path) -> Path:
    (folder / "SST-2").mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / "SST-2" / f"{split}.tsv").touch()
    return folder


def line(done: subprocess.CompletedProcess, start: str) -> str:
    assert done.returncode == 0, done.stderr
    (found,) = (text for text in done.stdout.splitlines() if text.startswith(start))
    return found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--glue"], "demo.sh: --glue is an unknown option: "),
        (["--glue-dir"], "demo.sh: --glue-dir needs a folder."),
        (["--glue-dir", "nowhere"], "demo.sh: --glue-dir nowhere has no SST-2/train.tsv: "),
    ],
)
def test_wrong_arguments_are_an_error_before_setup(project, arguments, sentence):
    done = demo(*arguments, script=project / "scripts" / "demo.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert not (project / "runs").exists()


def test_each_source_has_its_own_folder(project, tmp_path):
    script = project / "scripts" / "demo.sh"
    one, two = glue(tmp_path / "one" / "glue"), glue(tmp_path / "two" / "glue")

    def out_of(*arguments: str, **variables: str) -> str:
        done = demo(*arguments, script=script, **variables)
        return line(done, "python experiments.py --task").split("--out ")[1].split()[0]

    outs = [out_of(), out_of(ONLINE="1"), out_of("--glue-dir", str(one)), out_of("--glue-dir", str(two))]
    assert outs[:2] == ["runs/demo/made-up", "runs/demo/sst-2"]
    assert all(out.startswith("runs/demo/glue-") for out in outs[2:])
    assert len(set(outs)) == 4
    assert demo("--glue-dir", f"{one}/", script=script).stdout.count(outs[2]) >= 3


def test_students_train_two_at_a_time_on_a_cpu_and_more_flags_come_last(project):
    done = demo("--", "--seeds", "1,2", script=project / "scripts" / "demo.sh")
    students = line(done, "python experiments.py --task")
    assert "--method none,hidden_mse_learn --init 0,1 --stage one --unlabelled-subset unlabelled " in students
    assert students.endswith("--cpu --jobs 2 --seeds 1,2 -- " + UPDATES)
    assert line(done, "python scripts/finetune_teacher.py").endswith("--lr 1e-4 --cpu")
