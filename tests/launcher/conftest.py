"""Fixtures: a data folder, a teacher and a `fairseq-train` that take no time."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import experiments
from launcher import plugin
from launcher.methods import Methods, find_methods
from launcher.planning.run_spec import RunSpec

FAKE_TRAINER = '''#!{python} -SE
"""Stands in for fairseq-train; FAKE_* variables decide what goes wrong."""
import json, os, sys, time
from pathlib import Path

flag = lambda name: sys.argv[sys.argv.index(name) + 1]
folder, metric = Path(flag("--save-dir")), flag("--best-checkpoint-metric")
if os.environ.get("FAKE_FAIL", "no run") in folder.name:
    print("Traceback (most recent call last):")
    sys.exit("RuntimeError: it fails on purpose.")
if os.environ.get("FAKE_REFUSE", "no run") in folder.name:
    print("a long line of settings")
    sys.exit("Cannot start distillation:\\n  --mapping is wrong.\\n  --teacher is wrong.")


last = folder / "checkpoint_last.pt"
begin = int(last.read_text()) if last.exists() else 0
for epoch in range(begin + 1, int(flag("--max-epoch")) + 1):
    again = os.environ.get("FAKE_HANGS") != "once" or not (folder / "hanging").exists()
    if os.environ.get("FAKE_HANG") == str(epoch) and again:
        (folder / "hanging").touch()
        time.sleep(float(os.environ.get("FAKE_SECONDS", "60")))
    score = 70 + epoch + int(flag("--seed")) if metric != "loss" else 1 / epoch
    numbers = {{"epoch": epoch, "valid_loss": "0.5", "valid_num_updates": str(epoch * 10), "valid_wps": "9"}}
    numbers["valid_" + metric] = str(score)
    print(f"2000-01-01 00:00:00 | INFO | train | " + json.dumps({{"epoch": epoch, "train_loss": "1"}}))
    print(f"2000-01-01 00:00:00 | INFO | valid | " + json.dumps(numbers), flush=True)
    last.write_text(str(epoch))
    (folder / "checkpoint_best.pt").write_text("best")
    if os.environ.get("FAKE_KILL") == str(epoch):
        os.kill(os.getpid(), 9)
'''


# The Python beside the trainer, which is called for predictions and for data.
FAKE_PYTHON = """#!{python} -SE
import os, sys, time
from pathlib import Path

if sys.argv[1] == "-c":
    print('{{"versions": {{"torch": "of the trainer"}}, "gpu": "of the trainer"}}')
    sys.exit()
if "fairseq_kd.describe" in sys.argv:
    import json
    answer = json.loads(Path(__file__).with_name("description.json").read_text())
    for path in sys.argv[4:]:
        text = Path(path).read_text()
        answer["checkpoints"][path] = {{"layers": int(text) if text.isdigit() else 24, "positions": 512}}
    print(json.dumps(answer))
    sys.exit()
if "fairseq_kd.tasks.check_flags" in sys.argv:
    print(os.environ.get("FAKE_REFUSALS", "[]"))
    sys.exit()
if os.environ.get("FAKE_PREDICT") == "fail":
    sys.exit("Cannot predict: it fails on purpose.")
flag = lambda name: sys.argv[sys.argv.index(name) + 1]
with open(Path(__file__).with_name("calls"), "a") as calls:
    print(*sys.argv[1:], file=calls)
if "preprocess.glue" in sys.argv:
    if "FAKE_HANG" in os.environ:
        half = Path(flag("--out")) / "half"
        half.mkdir(parents=True)
        try:
            time.sleep(60)
        finally:
            half.rmdir()
    sys.exit("it fails on purpose.")
folder = Path(flag("--checkpoint")).parent / "predictions"
folder.mkdir(exist_ok=True)
for split in flag("--split").split(","):
    (folder / (split + ".npz")).write_text("predictions")
print("predicted")
"""


@functools.cache
def description() -> str:
    """Return the description of the criterions, from the user's cache if it is there."""
    return json.dumps(plugin._described(None, ()) | {"checkpoints": {}})


@pytest.fixture(scope="session")
def methods() -> Methods:
    """Return all methods of the plugin."""
    return find_methods()


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch) -> Path:
    """Write a fairseq-train and a Python beside it, and return the former."""
    described = description()  # before the cache folder changes
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("fake-train", FAKE_TRAINER), ("python", FAKE_PYTHON)):
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(0o755)
    (folder / "description.json").write_text(described)
    return folder / "fake-train"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write the meta.json of MRPC and MNLI."""
    for task, sentences, splits in (("MRPC", 3668, ["valid"]), ("MNLI", 392702, ["valid", "valid1"])):
        folder = tmp_path / "data" / f"{task}-bin"
        folder.mkdir(parents=True)
        meta = {
            "task": task,
            "metric": "accuracy",
            "splits": {"train": {"sentences": sentences}, **{split: {"sentences": 10} for split in splits}},
            "made_from": f"hash of {task}",
        }
        (folder / "meta.json").write_text(json.dumps(meta))
    return tmp_path / "data"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """Write a teacher of MRPC, and return its folder."""
    folder = tmp_path / "teachers" / "MRPC"
    folder.mkdir(parents=True)
    (folder / "checkpoint_best.pt").write_bytes(b"weights")
    return folder


@pytest.fixture
def call(tmp_path: Path, trainer: Path, data: Path, teacher: Path) -> list[str]:
    """Return arguments of experiments.py for a small grid on MRPC, with the stand-ins."""
    given = {"--data": data, "--teacher": teacher, "--trainer": trainer, "--out": tmp_path / "runs"}
    return ["--task", "mrpc", "--cpu", "--epochs", "2", "--group", "g"] + [
        text for flag, value in given.items() for text in (flag, str(value))
    ]


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """Return the folder of the group of `call`."""
    return tmp_path / "runs" / "g"


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Return a function that calls experiments.py, checks that nothing starts, and returns the error."""

    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            experiments.main(arguments)
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("Cannot start:")
        return error

    return refused


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a grid file, and returns the arguments that name it."""

    def write(text: str) -> list[str]:
        (tmp_path / "grid.yaml").write_text(text)
        return ["--grid", str(tmp_path / "grid.yaml")]

    return write


@pytest.fixture
def spec() -> RunSpec:
    """Return the spec of one run."""
    return RunSpec(
        task="MRPC",
        method="att_kl_learn",
        init="0,1,2",
        mapping="0:0,1:4",
        stage="one",
        seed=1,
        epochs=10,
        batch_size=16,
        lr=1e-5,
        updates=2296,
        warmup=137,
        data="d",
        teacher="t",
    )
