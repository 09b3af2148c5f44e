"""`scripts/prune_and_distil.py`: a small student in steps, and what it cannot start with."""

import re
import shutil
from dataclasses import replace

import pytest

from fairseq_kd.models.checkpoint import read_checkpoint
from launcher.execution.command import train_command
from launcher.results.runs import Outcome
from scripts import prune_and_distil
from scripts.pruning_steps import PRUNED
from tests.convert.conftest import labelled
from tests.processes import programs
from tests.tiny import write_teacher

pytestmark = pytest.mark.slow


@pytest.fixture
def call(tmp_path):
    data = labelled(tmp_path / "RTE-bin", task="RTE")
    teacher = write_teacher(tmp_path / "teacher" / "model.pt")
    given = {"--data": data, "--teacher": teacher, "--out": tmp_path / "out", "--epochs": 1}
    given["--trainer"] = programs() / "fairseq-train"
    return ["--cpu", *(text for flag, value in given.items() for text in (flag, str(value)))]


SIZES = "--layers 2 --heads 2 --ffn 8 --rank 6".split()


def test_each_step_starts_from_the_one_before(call, tmp_path, capsys, monkeypatch):
    commands = []

    def train(job, slot):
        commands.append(" ".join(train_command(job)))
        shutil.copy(job.folder / "pruned" / "model.pt", job.folder / "checkpoint_best.pt")
        return Outcome({})

    monkeypatch.setattr(prune_and_distil, "train", train)
    command = [*call, *SIZES, "--steps", "2", "--method", "hidden_mse_learn", "--", "--num-workers", "0"]
    assert prune_and_distil.main(command) == 0
    output = capsys.readouterr().out
    assert "Step 1 of 2: 3 layers, 3 heads, ffn 20, embeddings of rank 11" in output
    assert "Step 2 of 2: 2 layers, 2 heads, ffn 8, embeddings of rank 6" in output

    out = tmp_path / "out"
    small = read_checkpoint(str(out / "2"), "--checkpoint")
    assert str(small.shape) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"
    assert f"of {out / '1' / 'checkpoint_best.pt'}: 3 layers" in output
    for number, given in enumerate(commands, start=1):
        assert f"--init-from {out / str(number) / 'pruned' / 'model.pt'} --init-layers all" in given
        assert "--criterion hidden_mse_learn" in given
        assert "--init-head --num-workers 0" in given

    capsys.readouterr()
    assert prune_and_distil.main([*call, "--layers", "3"]) == 2
    assert "contains steps of another schedule" in capsys.readouterr().err


def test_a_schedule_is_as_long_as_the_batches_of_an_update_leave_it(call):
    args = prune_and_distil._parser().parse_args([*call, "--epochs", "4000"])
    each = prune_and_distil.find_training(args, {}, True).spec.updates
    assert each > 100
    gathered = prune_and_distil.find_training(args, {"--update-freq": "4"}, True).spec.updates
    assert gathered == pytest.approx(each / 4, abs=1)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", [prune_and_distil.score_importance, prune_and_distil.prune_once])
def test_an_interruption_before_training_is_reported(call, capsys, monkeypatch, where):
    monkeypatch.setattr(prune_and_distil.score_importance, "main", lambda _: 0)
    monkeypatch.setattr(where, "main", interrupted)
    assert prune_and_distil.main([*call, "--layers", "2"]) == 130
    assert capsys.readouterr().err == "Interrupted: the same command continues from here.\n"


def test_the_seed_is_that_of_importance_too(call, monkeypatch):
    asked = []
    monkeypatch.setattr(prune_and_distil.score_importance, "main", lambda given: asked.extend(given))
    monkeypatch.setattr(prune_and_distil.prune_once, "main", interrupted)
    assert prune_and_distil.main([*call, "--layers", "2", "--seed", "7"]) == 130
    assert asked[asked.index("--seed") + 1] == "7"


def test_two_calls_do_not_prune_in_one_folder(call, tmp_path, capsys, monkeypatch):
    statuses = []

    def again(_):
        statuses.append(prune_and_distil.main([*call, "--layers", "2"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(prune_and_distil.score_importance, "main", again)
    assert prune_and_distil.main([*call, "--layers", "2"]) == 130
    assert statuses == [2]
    assert "out is in use by another call of this command: wait for it" in capsys.readouterr().err


def test_missing_predictions_do_not_stop_steps_but_are_a_failure(call, tmp_path, capsys, monkeypatch):
    outcomes = [Outcome({"at_best": {"valid": {"loss": 0.5}}}, note="no predictions"), Outcome(None, "lost")]
    outcomes.insert(1, replace(outcomes[0], note=""))
    monkeypatch.setattr(prune_and_distil, "run_alone", lambda job, slot: outcomes.pop(0))
    monkeypatch.setattr(prune_and_distil, "prune", write_pruned)
    assert prune_and_distil.main([*call, "--layers", "2", "--steps", "2"]) == 1
    said = capsys.readouterr()
    assert said.err == "no predictions\n"
    assert said.out.count("dev loss 0.5") == 2
    assert f"Student: {tmp_path / 'out' / '2' / 'checkpoint_best.pt'}" in said.out

    assert prune_and_distil.main([*call, "--layers", "2", "--steps", "2"]) == 1
    assert capsys.readouterr().err == "Training failed: lost\n"
    assert outcomes == []


def write_pruned(large, training, size, folder):
    (folder / PRUNED).parent.mkdir(parents=True)
    (folder / PRUNED).write_text("pruned")


def test_a_small_student(call, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert prune_and_distil.main([*call, *SIZES, "--", "--num-workers", "0"]) == 0
    assert capfd.readouterr().out.count("dev loss") == 1
    student = read_checkpoint(str(tmp_path / "out" / "1" / "checkpoint_best.pt"), "--checkpoint")
    assert str(student.shape) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"
    assert (tmp_path / "out" / "1" / "predictions" / "valid.npz").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "the sizes equal those of the model: give --layers"),
        ("--heads 9", "--heads 9, but the model has 4"),
        ("--layers 2 --method foo", "--method foo is not a method: choose among none, alp_kd"),
        ("--layers 2 -- --criterion kd", "contain --criterion, which"),
        ("--layers 2 -- --hsk-keep 1l", "unrecognized arguments: --hsk-keep"),
        ("--layers 2 -- --no-such 3", r"unrecognized arguments: --no-such 3\): correct the flags after --"),
        ("--layers 2 -- --temperature 0", "a student of 2 layers, .*: --temperature 0.0"),
        (f"{' '.join(SIZES)} --steps 2 --method att_kl_learn",
         "a student of 3 layers, 3 heads, .* cannot be trained: .* head by head, but the student has 3 heads"),
        ("--layers 2 --method pkd -- --mapping 3:4", "names student state 3, but the student has 2"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_an_error(call, tmp_path, capsys, flags, message):
    assert prune_and_distil.main([*call, *flags.split()]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch("Cannot start: .*\\.\n", said)
    assert re.search(message, said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "flags"),
    [("minilm_v2", "--relation-heads 4"), ("sda", ""), ("none", ""), ("crd", ""), ("hsk", "--hsk-keep 1l")],
)
def test_methods_for_a_student_of_fewer_heads(call, monkeypatch, method, flags):
    monkeypatch.setattr(prune_and_distil, "take_steps", lambda sizes, *_: len(sizes))
    given = [*call, *SIZES, "--steps", "3", "--method", method, "--", *flags.split()]
    assert prune_and_distil.main(given) == 3
