"""experiments.py from its flags to its folder, with a trainer that takes no time."""

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import experiments
from fairseq_kd.layers import layer_map
from launcher.cli import read_arguments
from launcher.execution import lock
from launcher.execution.experiment import Experiment
from launcher.execution.processes import Programs
from tests.launcher.waiting import wait_for

ROOT = Path(__file__).parents[3]
KD = ["--method", "kd", "--seeds", "1,2"]


def results_in(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}


def only_run(folder: Path) -> Path:
    (spec,) = folder.glob("*/spec.json")
    return spec.parent


def test_a_grid_is_trained_and_told_in_a_table(call, tmp_path, capsys):
    assert experiments.main([*call, "--method", "kd,att_kl_learn", "--seeds", "1,2"]) == 0

    group = tmp_path / "runs" / "g"
    results = results_in(group)
    assert len(results) == 2 + 2 * 2
    assert sorted(r["best"] for n, r in results.items() if "-kd-" in n) == [73, 74]
    assert all(r["metric"] == "loss" for n, r in results.items() if "-first-" in n)

    text = capsys.readouterr().out
    assert (group / "table.md").read_text() in text
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.50 ± 0.71 | 2 |" in text
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | 73.50 ± 0.71 | 2 |" in text


def test_a_run_keeps_what_repeats_it(call, tmp_path):
    experiments.main([*call, "--method", "kd", "--seeds", "1", "--", "--patience", "2"])

    run = only_run(tmp_path / "runs" / "g")
    assert json.loads((run / "spec.json").read_text())["flags"] == ["--patience", "2"]
    assert (run / "command.txt").read_text().rstrip().endswith("--cpu --patience 2")

    result = json.loads((run / "result.json").read_text())
    assert (result["best"], result["best_update"], result["exit_code"], result["resumed"]) == (
        73,
        20,
        0,
        False,
    )
    assert result["at_best"] == {"valid": {"loss": 0.5, "accuracy": 73}}
    assert result["versions"] == {"torch": "of the trainer"}
    assert (result["machine"]["gpu"], result["machine"]["slots"]) == ("of the trainer", 1)
    assert result["seconds"] >= 0
    assert (run / "checkpoint_best.pt").exists()
    assert not (run / "checkpoint_last.pt").exists()


def test_finished_runs_are_skipped(call, tmp_path, capsys):
    experiments.main([*call, *KD])
    logs = {path: path.read_text() for path in (tmp_path / "runs" / "g").glob("*/log.txt")}

    assert experiments.main([*call, *KD]) == 0
    assert {path: path.read_text() for path in logs} == logs
    assert "finished before" in capsys.readouterr().out


def test_a_run_that_another_launcher_finishes_meanwhile_is_left_alone(call, tmp_path, monkeypatch):
    experiments.main([*call, "--method", "kd", "--seeds", "1"])
    result = only_run(tmp_path / "runs" / "g") / "result.json"
    finished = result.read_text()
    result.unlink()
    take = lock.take

    def after_the_other(file) -> bool:
        result.write_text(finished)
        return take(file)

    monkeypatch.setattr(lock, "take", after_the_other)
    monkeypatch.setenv("FAKE_FAIL", "kd")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0


def test_a_run_that_another_launcher_trains_is_left_to_it(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "take", lambda file: "-seed1-" not in file.name)
    assert experiments.main([*call, *KD]) == 0

    text = capsys.readouterr().out
    [held] = (line for line in text.splitlines() if ": skipped, " in line)
    assert ": skipped, another launcher is training it; call this again when that has ended" in held
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 74.00 | 1 of 2 |" in text
    assert text.splitlines()[-1].startswith("1 being trained by another launcher: when that has ended, call")
    assert "FAILED" not in text
    assert text.count("start MRPC") == 1
    assert len(results_in(tmp_path / "runs" / "g")) == 1


def test_what_starts_from_a_run_of_another_launcher_waits_for_it(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("launcher.execution.scheduler.SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr("launcher.execution.scheduler.SECONDS_BETWEEN_VISITS", 0.01)
    looks = []

    def ended_at_the_third_look(file) -> bool:
        looks.extend([1] if "-first-" in file.name else [])
        return "-first-" not in file.name or len(looks) == 3

    monkeypatch.setattr(lock, "take", ended_at_the_third_look)
    assert experiments.main([*call, "--method", "att_kl_learn", "--seeds", "1"]) == 0
    assert len(looks) == 3
    output = capsys.readouterr().out
    assert output.count(": another launcher is training it\n") == 1
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | 73.00 | 1 |" in output


def test_two_launchers_divide_a_grid(call, tmp_path):
    """As jobs of a Slurm array do that call the same command."""
    command = [sys.executable, str(ROOT / "experiments.py"), *call]
    grid = ["--method", "kd,att_kl_learn", "--seeds", "1,2"]
    variables = os.environ | {"FAKE_HANG": "2", "FAKE_SECONDS": "0.5"}
    both = [
        subprocess.Popen([*command, *grid], env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [launcher.communicate(timeout=60)[0] for launcher in both]

    assert [launcher.returncode for launcher in both] == [0, 0]
    group = tmp_path / "runs" / "g"
    assert len(results_in(group)) == 2 + 2 * 2
    assert all(path.read_text().count("| valid |") == 2 for path in group.glob("*/log.txt"))
    started = [output.count("start MRPC") for output in outputs]
    assert sum(started) == 6
    assert min(started) > 0
    assert any(
        "| att_kl_learn | 0,1,2 | skip | two | accuracy | 73.50 ± 0.71 | 2 |" in one for one in outputs
    )


def test_another_teacher_makes_another_run(call, teacher, tmp_path):
    experiments.main([*call, "--method", "kd", "--seeds", "1"])
    (teacher / "checkpoint_best.pt").write_bytes(b"trained again")
    experiments.main([*call, "--method", "kd", "--seeds", "1"])

    assert len(results_in(tmp_path / "runs" / "g")) == 2


def changing_after_planning(monkeypatch, path: Path, change) -> None:
    """Changes a model once everything is planned."""
    run = Experiment.run

    def changed(experiment) -> int:
        change(path)
        return run(experiment)

    monkeypatch.setattr(Experiment, "run", changed)


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"other"), Path.unlink])
def test_a_teacher_that_changed_since_the_runs_were_planned_teaches_none(
    call, teacher, tmp_path, monkeypatch, capsys, change
):
    path = teacher / "checkpoint_best.pt"
    changing_after_planning(monkeypatch, path, change)
    assert experiments.main([*call, "--method", "kd,att_kl_learn", "--seeds", "1"]) == 1
    assert capsys.readouterr().out.count(f"FAILED, {path} changed since this run was planned: call") == 2
    assert results_in(tmp_path / "runs" / "g") == {}


def test_a_listed_model_that_changed_since_the_runs_were_planned_starts_none(
    call, teacher, tmp_path, monkeypatch, capsys
):
    model = tmp_path / "mine.pt"
    model.write_bytes(b"mine")
    changing_after_planning(monkeypatch, model, lambda path: path.write_bytes(b"other"))
    grid = ["-e", "pred", "--lr", "1e-5", "--batch-size", "16", "--seeds", "1", "--models", str(model)]
    assert experiments.main([*call, *grid]) == 1
    assert f"FAILED, {model} changed since this run was planned" in capsys.readouterr().out


def test_a_killed_run_is_a_failure_and_goes_on_next_time(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_KILL", "1")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1", "--retries", "0"]) == 1
    assert "killed by signal 9" in capsys.readouterr().out
    run = only_run(tmp_path / "runs" / "g")
    assert not (run / "result.json").exists()

    monkeypatch.delenv("FAKE_KILL")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0
    result = json.loads((run / "result.json").read_text())
    assert (result["resumed"], result["best"]) == (True, 73)
    assert (run / "log.txt").read_text().count("| valid |") == 2


def test_a_run_without_a_checkpoint_starts_a_log_of_its_own(call, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "MRPC")
    experiments.main([*call, "--method", "kd", "--seeds", "1"])
    log = only_run(tmp_path / "runs" / "g") / "log.txt"
    assert "it was told to fail" in log.read_text()

    monkeypatch.delenv("FAKE_FAIL")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0
    assert "it was told to fail" not in log.read_text()


def test_a_failure_shows_its_last_lines_and_stops_no_other(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "att_kl_learn")
    assert experiments.main([*call, "--method", "att_kl_learn,kd", "--seeds", "1"]) == 1

    text = capsys.readouterr().out
    assert "FAILED, exit status 1" in text
    assert "    RuntimeError: it was told to fail." in text
    assert "not started because its first stage failed" in text
    assert "| MRPC | att_kl_learn | 0,1,2 | skip | two | accuracy | - | 0 of 1 |" in text
    assert len(results_in(tmp_path / "runs" / "g")) == 1


def test_jobs_run_side_by_side_and_give_the_same_table(call, tmp_path):
    method = ["--method", "kd,hidden_mse_learn", "--seeds", "1,2,3"]
    assert experiments.main([*call, *method, "--jobs", "3"]) == 0
    assert len(results_in(tmp_path / "runs" / "g")) == 3 + 2 * 3


def test_a_dry_run_prints_commands_and_touches_nothing(call, tmp_path, capsys):
    assert experiments.main([*call, "--method", "att_kl_learn", "--seeds", "1", "--dry-run"]) == 0

    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert [Path(shlex.split(line)[1]).name for line in commands] == ["fake-train", "fake-train", "python"]
    assert "--adam-betas '(0.9, 0.98)'" in commands[0]
    assert lines[-1].startswith("# 2 runs in ")
    assert not (tmp_path / "runs").exists()


def test_all_runs_with_a_teacher_share_a_cache_which_names_no_run(call, capsys):
    grid = [*call, "--method", "none,kd,att_kl_learn", "--seeds", "1", "--dry-run"]
    assert experiments.main(grid) == 0
    without = capsys.readouterr().out
    assert experiments.main([*grid, "--teacher-cache", "caches"]) == 0
    lines = capsys.readouterr().out.splitlines()

    trained = [shlex.split(line) for line in lines if "--criterion" in line]
    given = [words[words.index("--teacher-cache") + 1] for words in trained if "--teacher-cache" in words]
    assert given == ["caches/MRPC"] * 3
    assert len(trained) == 4  # and one that has no teacher
    assert [line for line in lines if line.startswith("#")] == [
        line for line in without.splitlines() if line.startswith("#")
    ]


def test_a_cache_behind_the_dashes_would_be_one_for_all_tasks(call, capsys):
    with pytest.raises(SystemExit):
        experiments.main([*call, "--method", "kd", "--dry-run", "--", "--teacher-cache", "caches"])
    assert "give --teacher-cache before --" in capsys.readouterr().err


def test_interrupting_stops_the_children_and_the_same_command_goes_on(call, tmp_path):
    command = [sys.executable, str(ROOT / "experiments.py"), *call, "--method", "kd", "--seeds", "1"]
    launcher = subprocess.Popen(
        command,
        env=os.environ | {"FAKE_HANG": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "runs" / "g", "*/hanging")

    # A second launcher leaves the run that is being trained alone.
    second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert second.returncode == 0
    assert "skipped, another launcher is training it" in second.stdout

    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate(timeout=20)
    assert launcher.returncode == 130
    assert "the same command goes on from here" in errors

    again = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert again.returncode == 0
    assert "| 73.00 | 1 |" in again.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "mnli"], "MRPC is one model for MRPC and MNLI: write {task} where"),
        (["--task", "foo"], "'foo' is not a task: choose among CoLA"),
        (["--method", "cdr"], "--method cdr is not a method: choose among none, a"),
        (["--init", "a"], "'a' names no layers"),
        (["--init", "random"], "--init random has no depth to take over"),
        (["--init", "random:0"], "'random:0' names no layers"),
        (
            ["--mapping", "0:x"],
            "'0:x' is not a mapping: choose among skip, last, combine, combine-layers, pkd-skip, pkd-last, topX",
        ),
        (["--mapping", "top"], "'top' is not a mapping"),
        (
            ["--method", "att_kl_learn", "--mapping", "combine"],
            "--mapping combine mixes all hidden states, but --method",
        ),
        (["--stage", "three"], "'three' is not a number of stages"),
        (["--seeds", "0"], "'0' is not a whole number from 1"),
        (["--lr", "5"], "'5' is not a learning rate"),
        (
            ["--data", "nowhere"],
            "--data nowhere has no data of MRPC (nowhere/MRPC-bin/meta.json is missing): give",
        ),
        (["--teacher", "no/{task}"], "--teacher no/MRPC does not exist: give a model fine-tuned on MRPC"),
        (["--out", "experiments.py"], "--out experiments.py/g cannot be made: experiments.py is no folder"),
        (["--trainer", "no-such-program"], "--trainer no-such-program is not a program"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_lacking_is_said_before_anything_starts(call, change, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, "--method", "kd", *change])

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_table_that_cannot_be_written_is_still_shown(call, tmp_path, capsys):
    (tmp_path / "runs" / "g" / "table.md").mkdir(parents=True)
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 1

    output = capsys.readouterr()
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 |" in output.out
    assert output.err.startswith("The table could not be written")


def test_lists_may_have_blanks():
    lists = ["--task", "mrpc, rte", "--method", "kd, minilm", "--init", "0, 1, 2", "--stage", "one, two"]
    lists += ["--mapping", "skip, last", "--seeds", "1, 2"]
    plain = [word.replace(" ", "") for word in lists]
    assert read_arguments(None, lists)[1] == read_arguments(None, plain)[1]


def test_flags_that_the_launcher_sets_are_refused(call, capsys):
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, "--method", "kd", "--", "--save-dir", "x", "--encoder-layers", "4"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "Cannot start: the flags after -- name --save-dir, --encoder-layers, which this program sets: "
        "use --out and --group for --save-dir, use --init random:N for --encoder-layers (--help shows all flags).\n"
    )


def test_everything_that_is_lacking_is_said_at_once(call, capsys):
    with pytest.raises(SystemExit):
        experiments.main([*call, "--method", "kd", "--data", "nowhere", "--teacher", "nobody"])
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [
        "Cannot",
        "--data",
        "--teacher",
    ]


def test_help_and_plans_need_neither_torch_nor_fairseq():
    code = "import experiments, sys; print({'torch', 'fairseq', 'numpy', 'fairseq_kd'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("word", ["skip", "last", "pkd-skip", "pkd-last", "top4", "0:0,2:4"])
def test_the_launcher_takes_the_mappings_of_the_plugin(call, word, capsys):
    layer_map(word, 3, 12)
    kinds = ["--method", "hidden_mse_learn", "--stage", "one", "--seeds", "1", "--dry-run"]
    assert experiments.main([*call, *kinds, "--mapping", word]) == 0
    assert f"--mapping {word} " in capsys.readouterr().out


def test_pairs_in_a_list_of_mappings_are_one_mapping(call, capsys):
    kinds = ["--method", "hidden_mse_learn", "--stage", "one", "--seeds", "1", "--dry-run"]
    experiments.main([*call, *kinds, "--mapping", "skip,0:0,1:4"])

    text = capsys.readouterr().out
    assert "--mapping skip " in text
    assert "--mapping 0:0,1:4 " in text


def predictions_of(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "predictions").glob("*"))


def test_a_classifier_is_followed_by_its_predictions_and_a_first_stage_is_not(call, tmp_path):
    experiments.main([*call, "--method", "hidden_mse_learn", "--seeds", "1"])
    made = {run.parent.name: predictions_of(run.parent) for run in tmp_path.glob("runs/g/*/spec.json")}
    assert sorted(("first" in name, files) for name, files in made.items()) == [
        (False, ["valid.npz"]),
        (True, []),
    ]

    [second] = tmp_path.glob("runs/g/*-second-*")
    assert (second / "log.txt").read_text().endswith("predicted\n")


def test_predictions_that_are_lacking_are_said_and_made_next_time(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_PREDICT", "fail")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 1
    run = only_run(tmp_path / "runs" / "g")
    output = capsys.readouterr().out
    assert f" s; no predictions, exit status 1: see {run / 'log.txt'}" in output
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 |" in output
    assert output.splitlines()[-1] == (
        f"1 finished without predictions, which the same command makes ({run.name})"
    )
    assert "it was told to fail" in (run / "log.txt").read_text()
    assert predictions_of(run) == []

    monkeypatch.delenv("FAKE_PREDICT")
    trained = (run / "result.json").read_text()
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0
    assert predictions_of(run) == ["valid.npz"]
    assert (run / "result.json").read_text() == trained
    assert "accuracy 73, finished before\n" in capsys.readouterr().out


def test_a_finished_run_without_its_checkpoint_is_left_alone(call, tmp_path):
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0
    run = only_run(tmp_path / "runs" / "g")
    assert predictions_of(run) == ["valid.npz"]
    shutil.rmtree(run / "predictions")
    (run / "checkpoint_best.pt").unlink()

    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0
    assert not (run / "predictions").exists()


def test_a_training_that_saved_nothing_is_none(call, tmp_path, trainer, capsys):
    trainer.write_text(trainer.read_text().replace('(folder / "checkpoint_best.pt").write_text("best")', ""))
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 1
    assert "FAILED, ended well but saved no checkpoint_best.pt: leave out what" in capsys.readouterr().out
    assert results_in(tmp_path / "runs" / "g") == {}


def test_a_first_stage_without_its_checkpoint_starts_no_second(call, tmp_path, capsys):
    grid = [*call, "--method", "att_kl_learn", "--seeds", "1"]
    experiments.main(grid)
    [first] = tmp_path.glob("runs/g/*-first-*")
    [second] = tmp_path.glob("runs/g/*-second-*")
    (first / "checkpoint_best.pt").unlink()
    assert experiments.main(grid) == 0

    (second / "result.json").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        experiments.main(grid)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        f"Cannot start: {first}/checkpoint_best.pt is gone, and {second.name} starts from it, its first stage: "
        f"put it back, or remove {first} to have it trained again.\n"
    )


def test_second_stages_start_from_the_last_checkpoint_where_asked(call, tmp_path, capsys):
    grid = [*call, "--method", "att_kl_learn", "--seeds", "1"]
    assert experiments.main(grid) == 0
    [first] = tmp_path.glob("runs/g/*-first-*")
    [best] = tmp_path.glob("runs/g/*-second-*")
    assert f"--init-from {first}/checkpoint_best.pt" in (best / "command.txt").read_text()
    assert not (first / "checkpoint_last.pt").exists()

    # The first stage is shared, and it kept no last checkpoint.
    with pytest.raises(SystemExit):
        experiments.main([*grid, "--stage2-from", "last"])
    assert f"Cannot start: {first}/checkpoint_last.pt is gone" in capsys.readouterr().err
    shutil.rmtree(first)
    assert experiments.main([*grid, "--stage2-from", "last"]) == 0
    [last] = set(tmp_path.glob("runs/g/*-second-*")) - {best}
    assert f"--init-from {first}/checkpoint_last.pt" in (last / "command.txt").read_text()
    assert (first / "checkpoint_last.pt").is_file()
    assert not (last / "checkpoint_last.pt").exists()


def test_what_a_run_began_with_is_what_its_result_says(call, tmp_path, monkeypatch):
    commits = iter(["as it began", "as it ended"])
    monkeypatch.setattr("launcher.execution.train_run.environment_info", lambda *_: {"commit": next(commits)})
    experiments.main([*call, "--method", "kd", "--seeds", "1"])

    run = only_run(tmp_path / "runs" / "g")
    assert json.loads((run / "environment.json").read_text()) == {"commit": "as it began"}
    assert json.loads((run / "result.json").read_text())["commit"] == "as it began"


def test_a_run_that_fails_is_started_once_more_from_its_checkpoint(call, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_KILL", "1")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1"]) == 0

    run = only_run(tmp_path / "runs" / "g")
    result = json.loads((run / "result.json").read_text())
    assert (result["resumed"], result["best"]) == (True, 73)
    assert (run / "log.txt").read_text().count("| valid |") == 2


def test_a_run_that_fails_every_time_is_reported_with_its_last_lines(call, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "kd")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1", "--retries", "2"]) == 1

    text = capsys.readouterr().out
    assert "FAILED, exit status 1 in try 3 of 3; the end of " in text
    assert "    RuntimeError: it was told to fail." in text


def test_a_run_that_is_refused_says_why_and_is_not_started_again(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_REFUSE", "kd")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1", "--retries", "5"]) == 1

    text = capsys.readouterr().out
    refusal = "FAILED, Cannot start distillation:\n    --mapping is wrong.\n    --teacher is wrong.\n    (the end of "
    assert refusal in text
    assert "a long line of settings" not in text
    assert (only_run(tmp_path / "runs" / "g") / "log.txt").read_text().count("settings") == 1


def test_a_run_with_flags_that_the_trainer_does_not_know_is_not_started_again(
    call, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FAKE_FLAGS", "kd")
    assert experiments.main([*call, "--method", "kd", "--seeds", "1", "--retries", "5"]) == 1

    sentence = (
        "does not take its command line (unrecognized arguments: --no-such 3): correct the flags after --"
    )
    assert f"FAILED, fake-train {sentence}\n    (the end of " in capsys.readouterr().out
    assert (only_run(tmp_path / "runs" / "g") / "log.txt").read_text().count("usage") == 1


@pytest.mark.parametrize("ending", [-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT])
def test_a_run_that_somebody_stopped_is_not_started_again(call, monkeypatch, capsys, ending):
    tries = []
    monkeypatch.setattr(Programs, "call", lambda *_, **__: tries.append(1) or ending)
    assert experiments.main([*call, "--method", "kd", "--seeds", "1", "--retries", "5"]) == 1
    assert len(tries) == 1


def test_names_of_runs_are_those_of_earlier_versions(call, capsys):
    """Else every grid that is being trained would be trained again."""
    experiments.main(
        [*call, "--method", "hidden_mse_learn", "--seeds", "1", "--dry-run", "--", "--autocast", "bf16"]
    )
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("# MRPC")] == [
        "# MRPC-hidden_mse_learn-0_1_2-skip-first-seed1-767918c6",
        "# MRPC-hidden_mse_learn-0_1_2-skip-second-seed1-49cb2b08",
    ]


def test_a_launcher_that_no_terminal_may_end_goes_on(call, tmp_path):
    command = [sys.executable, str(ROOT / "experiments.py"), *call, "--method", "kd", "--seeds", "1"]
    launcher = subprocess.Popen(
        ["nohup", *command],
        env=os.environ | {"FAKE_HANG": "2", "FAKE_SECONDS": "1"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(tmp_path / "runs" / "g", "*/hanging")
    os.killpg(launcher.pid, signal.SIGHUP)  # as a terminal does that is closed

    output, _ = launcher.communicate(timeout=20)
    assert launcher.returncode == 0
    assert "| 73.00 | 1 |" in output


def test_without_nohup_a_closed_terminal_is_an_interruption(call, tmp_path):
    command = [sys.executable, str(ROOT / "experiments.py"), *call, "--method", "kd", "--seeds", "1"]
    launcher = subprocess.Popen(
        command, env=os.environ | {"FAKE_HANG": "2"}, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "runs" / "g", "*/hanging")
    launcher.send_signal(signal.SIGHUP)

    assert "the same command goes on from here" in launcher.communicate(timeout=20)[1]
    assert launcher.returncode == 130


def test_an_interruption_leaves_a_table_of_all_that_was_finished(call, monkeypatch, capsys):
    experiments.main([*call, "--method", "kd", "--seeds", "1"])
    capsys.readouterr()

    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("launcher.execution.scheduler.run_all", interrupted)
    assert experiments.main([*call, "--method", "kd", "--seeds", "1,2"]) == 130
    assert "| MRPC | kd | 0,1,2 | - | one | accuracy | 73.00 | 1 of 2 |" in capsys.readouterr().out


def test_a_program_for_predictions_that_cannot_start_fails_no_run(call, tmp_path, trainer, capsys):
    grid = [*call, "--method", "kd", "--seeds", "1"]
    assert experiments.main([*grid, "--dry-run"]) == 0
    trainer.with_name("python").write_text("#!/no/such/interpreter\n")
    assert experiments.main(grid) == 1
    assert " s; no predictions, [Errno 2]" in capsys.readouterr().out


def test_where_files_cannot_be_locked_all_is_trained_with_one_warning(call, tmp_path, monkeypatch, capsys):
    def unable(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unable)
    monkeypatch.setattr(lock, "_warned", threading.Lock())
    assert experiments.main([*call, *KD, "--jobs", "2"]) == 0
    assert len(results_in(tmp_path / "runs" / "g")) == 2
    [warning] = capsys.readouterr().err.splitlines()
    assert "/lock cannot be locked (No locks available): see to it yourself" in warning


def test_a_lock_that_fails_otherwise_fails_its_run(call, monkeypatch, capsys):
    def fail(*_) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", fail)
    assert experiments.main([*call, *KD]) == 1
    assert "FAILED, OSError: [Errno 5] Input/output error" in capsys.readouterr().out
