"""experiments.py from its flags to its run directories, with a trainer that takes no time."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from fairseq_kd.layers import layer_map
from launcher.execution import scheduler, worker
from launcher.execution.slots import Processes
from tests.launcher.run_directories import results_in, wait_for

ROOT = Path(__file__).parents[2]
KD = ["--method", "kd", "--seeds", "1"]
BOTH = ["--method", "kd", "--seeds", "1,2"]
TWO_STAGES = ["--method", "att_kl_learn", "--seeds", "1"]


@pytest.fixture
def train(call, capsys):
    """Return a function that trains a grid, checks its exit status and returns what was printed."""

    def train(*words: str, status: int = 0) -> str:
        assert experiments.main([*call, *words]) == status
        return capsys.readouterr().out

    return train


@pytest.fixture
def launch(call):
    """Return a function that starts experiments.py as a process; its trainer hangs in epoch 2."""

    def launch(*words: str, before: tuple[str, ...] = (), **variables: str) -> subprocess.Popen:
        command = [*before, sys.executable, str(ROOT / "experiments.py"), *call, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | variables, start_new_session=True, **pipes)

    return launch


def only_run(folder: Path) -> Path:
    (spec,) = folder.glob("*/spec.json")
    return spec.parent


@pytest.mark.slow
def test_a_grid_is_trained_and_its_table_is_printed_and_written(train, group):
    text = train("--method", "kd,att_kl_learn", "--seeds", "1,2", "--jobs", "3")
    results = results_in(group)
    assert len(results) == 2 + 2 * 2
    assert sorted(result["best"] for name, result in results.items() if "-kd-" in name) == [73, 74]
    assert all(result["metric"] == "loss" for name, result in results.items() if "-first-" in name)

    assert (group / "table.md").read_text() in text
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.50 ± 0.71 | 2 |" in text
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | 73.50 ± 0.71 | 2 |" in text
    made = {path.parent.parent.name for path in group.glob("*/predictions/valid.npz")}
    assert made == {name for name in results if "-first-" not in name}
    assert not list(group.glob("*/checkpoint_last.pt"))

    # The same command trains nothing.
    logs = {path: path.read_text() for path in group.glob("*/log.txt")}
    assert train("--method", "kd,att_kl_learn", "--seeds", "1,2").count("finished before") == 6
    assert {path: path.read_text() for path in logs} == logs


def test_a_run_directory_has_all_that_repeats_the_run(train, group, monkeypatch):
    commits = iter(["at its start", "at its end"])
    machine = {"machine": {"slots": 1}, "versions": {"torch": "of the trainer"}}
    monkeypatch.setattr(
        "launcher.execution.worker.provenance", lambda *_: {"commit": next(commits), **machine}
    )
    train(*KD, "--", "--patience", "2")

    run = only_run(group)
    assert json.loads((run / "spec.json").read_text())["flags"] == ["--patience", "2"]
    assert (run / "command.txt").read_text().rstrip().endswith("--cpu --patience 2")
    result = json.loads((run / "result.json").read_text())
    expected = {
        "best": 73,
        "best_update": 20,
        "exit_code": 0,
        "resumed": False,
        "commit": "at its start",
        **machine,
    }
    assert {name: result[name] for name in expected} == expected
    assert result["at_best"] == {"valid": {"loss": 0.5, "accuracy": 73}}
    assert result["seconds"] >= 0
    assert json.loads((run / "environment.json").read_text())["commit"] == "at its start"
    assert (run / "log.txt").read_text().endswith("predicted\n")


def test_a_run_that_another_launcher_finishes_meanwhile_is_left_alone(train, group, monkeypatch):
    train(*KD)
    result = only_run(group) / "result.json"
    finished = result.read_text()
    result.unlink()
    take = worker.take_lock

    def after_the_other(file) -> bool:
        result.write_text(finished)
        return take(file)

    monkeypatch.setattr(worker, "take_lock", after_the_other)
    monkeypatch.setenv("FAKE_FAIL", "kd")
    train(*KD)


def test_a_run_that_another_launcher_trains_is_left_to_it(train, group, monkeypatch):
    monkeypatch.setattr(worker, "take_lock", lambda file: "-seed1-" not in file.name)
    text = train(*BOTH, status=1)
    assert text.count(": skipped, another launcher is training it") == 1
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 74.00 | 1 of 2 |" in text
    assert text.splitlines()[-1].startswith("1 without a result, ")
    assert "FAILED" not in text
    assert text.count("start MRPC") == 1
    assert len(results_in(group)) == 1


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"other"), Path.unlink])
@pytest.mark.parametrize("grid", [["--method", "kd,att_kl_learn"], ["-e", "pred", "--models", "MODEL"]])
def test_a_model_that_changed_since_the_runs_were_planned_is_used_by_none(
    train, teacher, tmp_path, group, monkeypatch, change, grid
):
    model = tmp_path / "mine.pt"
    model.write_bytes(b"mine")
    path = model if "MODEL" in grid else teacher / "checkpoint_best.pt"
    checked = experiments.check_origins
    monkeypatch.setattr(experiments, "check_origins", lambda jobs: (checked(jobs), change(path)))
    text = train(*(word.replace("MODEL", str(model)) for word in grid), "--seeds", "1", status=1)
    assert text.count(f"FAILED, {path} changed since this run was planned") == (1 if "MODEL" in grid else 2)
    assert results_in(group) == {}


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_run_resumes_from_its_checkpoint(train, group, monkeypatch, retries):
    """In the next attempt, or in the next call if none is left."""
    monkeypatch.setenv("FAKE_KILL", "1")
    text = train(*KD, "--retries", str(retries), status=1 - retries)
    if retries == 0:
        assert "killed by signal 9" in text
        assert results_in(group) == {}
        monkeypatch.delenv("FAKE_KILL")
        train(*KD)
    [result] = results_in(group).values()
    assert (result["resumed"], result["best"]) == (True, 73)
    assert (only_run(group) / "log.txt").read_text().count("| valid |") == 2


@pytest.mark.slow
def test_a_failure_shows_the_end_of_its_log_and_stops_no_other_run(train, group, monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "att_kl_learn")
    text = train("--method", "att_kl_learn,kd", "--seeds", "1", "--retries", "2", status=1)
    assert "FAILED, exit status 1 in try 3 of 3; the end of " in text
    assert "    RuntimeError: it fails on purpose." in text
    assert "not started because its first stage has no result" in text
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | - | 0 of 1 |" in text
    assert len(results_in(group)) == 1

    # Without a checkpoint it starts again, with a new log.
    monkeypatch.delenv("FAKE_FAIL")
    train("--method", "att_kl_learn", "--seeds", "1")
    assert "it fails on purpose" not in "".join(log.read_text() for log in group.glob("*/log.txt"))


def test_a_run_that_the_trainer_refuses_is_not_started_again(train, group, monkeypatch):
    monkeypatch.setenv("FAKE_REFUSE", "kd")
    text = train(*KD, "--retries", "5", status=1)
    refusal = "Cannot start distillation:\n    --mapping is wrong.\n    --teacher is wrong."
    assert f"FAILED, {refusal}\n    (the end of " in text
    assert "a long line of settings" not in text
    assert (only_run(group) / "log.txt").read_text().count("settings") == 1


@pytest.mark.parametrize("ending", [-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT])
def test_a_run_that_a_signal_stopped_is_not_started_again(train, monkeypatch, ending):
    calls = []
    monkeypatch.setattr(Processes, "call", lambda *_: calls.append(1) or ending)
    train(*KD, "--retries", "5", status=1)
    assert len(calls) == 1


def test_a_dry_run_prints_commands_and_writes_nothing(train, tmp_path):
    lines = train(*TWO_STAGES, "--dry-run").splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    programs = [next(word for word in shlex.split(line) if "=" not in word) for line in commands]
    assert [Path(program).name for program in programs] == ["fake-train", "fake-train", "python"]
    assert "--adam-betas '(0.9, 0.98)'" in commands[0]
    assert lines[-1].startswith("# 2 runs in ")
    assert not (tmp_path / "runs").exists()


def test_all_runs_with_a_teacher_share_a_cache_that_names_no_run(train):
    grid = ["--method", "none,kd,att_kl_learn", "--seeds", "1", "--dry-run"]
    without, lines = train(*grid).splitlines(), train(*grid, "--teacher-cache", "caches").splitlines()
    trained = [shlex.split(line) for line in lines if "--criterion" in line]
    given = [words[words.index("--teacher-cache") + 1] for words in trained if "--teacher-cache" in words]
    assert (given, len(trained)) == (["caches/MRPC"] * 3, 4)
    names = [[line for line in text if line.startswith("#")] for text in (lines, without)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_trackers_get_the_names_of_group_and_run_and_rename_no_run(train):
    grid = ("--method", "none,kd", "--seeds", "1", "--dry-run")
    plain = train(*grid)
    tracked = train(*grid, "--tensorboard-logdir", "tb", "--wandb-project", "distil")
    names = [line[2:] for line in plain.splitlines() if line.startswith("# MRPC")]
    assert names == [line[2:] for line in tracked.splitlines() if line.startswith("# MRPC")]
    assert all(f"--tensorboard-logdir tb/g/{name} --wandb-project distil " in tracked for name in names)
    assert "--tensorboard-logdir" not in plain


def test_an_interruption_stops_the_training_and_the_same_command_resumes(launch, group):
    launcher = launch(*KD, FAKE_HANG="2")
    wait_for(group, "*/hanging")

    # A second launcher leaves the run that is being trained alone.
    second = launch(*KD)
    assert "skipped, another launcher is training it" in second.communicate(timeout=60)[0]
    assert second.returncode == 1

    launcher.send_signal(signal.SIGTERM)
    assert "Interrupted: " in launcher.communicate(timeout=60)[1]
    assert launcher.returncode == 130

    again = launch(*KD)
    assert "| 73.00 | 1 |" in again.communicate(timeout=60)[0]
    assert again.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("nohup", [True, False])
def test_a_closed_terminal_is_an_interruption_except_with_nohup(launch, group, nohup):
    launcher = launch(*KD, before=("nohup",) if nohup else (), FAKE_HANG="2", FAKE_SECONDS="1")
    wait_for(group, "*/hanging")
    os.killpg(launcher.pid, signal.SIGHUP)
    output, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == (0 if nohup else 130)
    assert ("| 73.00 | 1 |" in output) == nohup
    assert ("Interrupted: " in errors) != nohup


def test_an_interruption_leaves_a_table_of_all_finished_runs(train, monkeypatch):
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    train(*KD)
    monkeypatch.setattr(scheduler, "run_jobs", interrupted)
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 of 2 |" in train(*BOTH, status=130)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "mnli"], "MRPC is one model for MRPC and MNLI: each task needs its own: write {task} in the path"),
        (["--out", "experiments.py"], "--out experiments.py/g cannot be made: experiments.py is no folder"),
        (["--trainer", "no-such-program"], "--trainer no-such-program is not a program"),
        (["--data", "nowhere", "--teacher", "no/{task}"], "Cannot start:\n  --data nowhere has no data of MRPC (nowhere/"),
        (["--data", "nowhere", "--teacher", "no/{task}"], ".\n  --teacher no/MRPC does not exist: give a checkpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_everything_that_is_missing_is_named_before_anything_starts(
    call, change, message, tmp_path, refused, monkeypatch
):
    monkeypatch.chdir(ROOT)
    task = ["--task", f"mrpc,{change[1]}"] if "--task" in change else change
    assert message in refused(*call, "--method", "kd", *task)
    assert not (tmp_path / "runs").exists()


def test_a_table_that_cannot_be_written_is_still_shown(call, group, capsys):
    (group / "table.md").mkdir(parents=True)
    assert experiments.main([*call, *KD]) == 1
    output = capsys.readouterr()
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 |" in output.out
    assert output.err.startswith("The table could not be written")


def test_the_launcher_takes_the_mappings_of_the_plugin(train):
    words = ["skip", "last", "pkd-skip", "pkd-last", "top4", "0:0,2:4"]
    for word in words:
        layer_map(word, 3, 12)
    grid = ["--method", "hidden_mse_learn", "--stage", "one", "--seeds", "1", "--mapping", ",".join(words)]
    text = train(*grid, "--dry-run")
    assert all(f"--mapping {word} " in text for word in words)


@pytest.mark.slow
def test_missing_predictions_are_reported_and_made_by_the_next_call(train, group, monkeypatch):
    monkeypatch.setenv("FAKE_PREDICT", "fail")
    text = train(*KD, status=1)
    run = only_run(group)
    assert f" s; no predictions, exit status 1: see {run / 'log.txt'}" in text
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 |" in text
    assert (
        text.splitlines()[-1] == f"1 finished without predictions, which the same command makes ({run.name})"
    )
    assert "it fails on purpose" in (run / "log.txt").read_text()

    monkeypatch.delenv("FAKE_PREDICT")
    trained = (run / "result.json").read_text()
    assert "accuracy 73, finished before\n" in train(*KD)
    assert (run / "predictions" / "valid.npz").is_file()
    assert (run / "result.json").read_text() == trained

    # Without its checkpoint, a finished run cannot predict, and is left alone.
    shutil.rmtree(run / "predictions")
    (run / "checkpoint_best.pt").unlink()
    train(*KD)
    assert not (run / "predictions").exists()


def test_a_prediction_program_that_cannot_start_fails_no_run(train, trainer):
    train(*KD, "--dry-run")
    trainer.with_name("python").write_text("#!/no/such/interpreter\n")
    assert " s; no predictions, [Errno 2]" in train(*KD, status=1)


@pytest.mark.slow
def test_a_training_that_saved_no_best_checkpoint_is_a_failure(train, group, trainer):
    trainer.write_text(trainer.read_text().replace('(folder / "checkpoint_best.pt").write_text("best")', ""))
    assert "saved no checkpoint_best.pt" in train(*KD, status=1)
    assert results_in(group) == {}


@pytest.mark.slow
def test_second_stages_start_from_the_best_or_the_last_checkpoint_of_the_first(call, train, group, refused):
    train(*TWO_STAGES)
    [first], [best] = group.glob("*-first-*"), group.glob("*-second-*")
    assert f"--init-from {first}/checkpoint_best.pt" in (best / "command.txt").read_text()

    # A finished second stage needs the checkpoint no longer, an unfinished one does.
    (first / "checkpoint_best.pt").unlink()
    train(*TWO_STAGES)
    (best / "result.json").unlink()
    assert refused(*call, *TWO_STAGES) == (
        f"Cannot start: {first}/checkpoint_best.pt is missing, and {best.name} starts from it, its first stage: "
        f"put it back, or delete {first} to train it again.\n"
    )
    # The first stage kept no last checkpoint.
    error = refused(*call, *TWO_STAGES, "--stage2-from", "last")
    assert f"Cannot start: {first}/checkpoint_last.pt is missing" in error
    shutil.rmtree(first)
    train(*TWO_STAGES, "--stage2-from", "last")
    [last] = set(group.glob("*-second-*")) - {best}
    assert f"--init-from {first}/checkpoint_last.pt" in (last / "command.txt").read_text()
    assert (first / "checkpoint_last.pt").is_file()
    assert not (last / "checkpoint_last.pt").exists()
