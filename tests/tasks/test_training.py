"""Whole runs: what is logged and saved, one batch against several, one worker against two."""

import signal
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tests.processes import Process
from tests.runs import check_same_weights, checkpoint, losses, train_by_two_workers, values_of
from tests.tiny import distil_command, logged, train_command, train_here, write_data, write_teacher

pytestmark = pytest.mark.slow


def test_a_run_logs_its_metrics_and_memory_and_keeps_the_best_checkpoint(data, teacher, tmp_path):
    metric = "--best-checkpoint-metric mcc --maximize-best-checkpoint-metric"
    flags = "--max-epoch 4 --lr 5e-3 --hard-weight 1"
    rows = train_here(distil_command(data, tmp_path, teacher, "kd", flags, metric))
    assert len(losses(rows)) == 4 * 8
    assert 0.05 < values_of(rows, "train")[-1]["train_peak_gb"] < 64
    valid = values_of(rows, "valid")
    assert {f"valid_{name}" for name in ("loss", "hard", "soft", "accuracy", "f1", "mcc")} <= set(valid[-1])
    best = checkpoint(tmp_path, "checkpoint_best.pt")["extra_state"]["best"]
    assert best == pytest.approx(max(values["valid_mcc"] for values in valid), abs=1e-3)


def test_two_stages(data, teacher, tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    alone = "--hard-weight 0 --soft-weight 0 --best-checkpoint-metric loss"
    rows = train_here(distil_command(data, first, teacher, "att_kl_learn", alone))
    assert all("valid_hard" not in values for values in values_of(rows, "valid"))

    start = ("--init-from", str(first / "checkpoint_best.pt"), "--init-layers all --max-update 1 --lr 0")
    train_here(train_command(data, second, "--teacher", str(teacher), "--criterion", "kd", *start))
    expected = checkpoint(first, "checkpoint_best.pt")["model"]
    for name, value in checkpoint(second)["model"].items():
        assert not name.startswith("encoder.") or torch.equal(value, expected[name]), name


def test_accumulation_equals_one_large_batch(data, teacher, tmp_path):
    # With a large epsilon the update is as smooth in the gradient as SGD's.
    one, four = (
        distil_command(data, tmp_path / name, teacher, "att_kl_hidden_mse", flags, "--adam-eps 0.1")
        for name, flags in {"one": "--batch-size 64", "four": "--batch-size 16 --update-freq 4"}.items()
    )
    (expected,), (found,) = losses(train_here(one)), losses(train_here(four))
    assert found == pytest.approx(expected, abs=2e-5)
    check_same_weights(tmp_path / "four", tmp_path / "one", rtol=1e-4, atol=2e-5)


# checkpoint_last.pt appears after the numbered one: with 2_42, it is at least that of update 35.
@pytest.mark.parametrize(("name", "left"), [("checkpoint_last.pt", 60), ("checkpoint_2_42.pt", 30)])
def test_killed_in_mid_epoch_and_resumed_equals_straight_through(tmp_path, teacher, name, left):
    data = write_data(tmp_path / "data", sentences=[("train", 240), ("valid", 40)])
    flags = "--max-epoch 2 --save-interval-updates 7 --dropout 0.1"
    straight = train_here(distil_command(data, tmp_path / "straight", teacher, "crd", flags))

    run_dir = tmp_path / "killed"
    command = distil_command(data, run_dir, teacher, "crd", flags)
    killed = Process(command)
    wait_for(run_dir / name, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    resumed = losses(train_here(command))
    assert 0 < len(resumed) < left
    assert resumed == losses(straight)[-len(resumed) :]
    check_same_weights(run_dir, tmp_path / "straight")


def wait_for(path: Path, process: Process) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_workers_equal_one(tmp_path, teacher):
    data = write_data(tmp_path / "data", sentences=[("train", 60), ("valid", 39)])
    method, common = "hidden_mse_learn", "--batch-size 8 --mapping combine --max-epoch 2"
    rows = train_here(distil_command(data, tmp_path / "one", teacher, method, common, "--update-freq 2"))
    output = train_by_two_workers(distil_command(data, tmp_path / "two", teacher, method, common))

    keys = {
        "train_inner": ["loss", "hard", "soft", "hidden", "accuracy", "mcc", "gnorm"],
        "valid": ["valid_loss", "valid_accuracy", "valid_f1", "valid_mcc"],
    }
    for tag, names in keys.items():
        found, expected = (
            [[values[name] for name in names] for values in each]
            for each in (logged(output, tag), values_of(rows, tag))
        )
        assert len(found) == len(expected) == (8 if tag == "train_inner" else 2)
        assert_close(torch.tensor(found), torch.tensor(expected), rtol=0, atol=2e-3)
    check_same_weights(tmp_path / "two", tmp_path / "one", rtol=1e-3, atol=1e-4)


def test_two_workers_remember_what_one_does(tmp_path, teacher):
    # 15 batches of 4 for two workers: each epoch, the last turn of one is filled up with a batch of the
    # validation set, which is larger, so that its numbers fit no bank. At a rate of 0 features stay the same.
    data = write_data(tmp_path / "data", sentences=[("train", 60), ("valid", 90)])
    common = ("--max-epoch 2 --lr 0 --crd-negatives 20 --valid-subset valid", "--validate-interval-updates 3",
              "--no-epoch-checkpoints")  # fmt: skip
    train_here(distil_command(data, tmp_path / "one", teacher, "crd", *common, "--batch-size 8"))
    train_by_two_workers(distil_command(data, tmp_path / "two", teacher, "crd", *common, "--batch-size 4"))

    expected, found = (checkpoint(tmp_path / name)["criterion"] for name in ("one", "two"))
    for bank in ("crd.loss.student_bank", "crd.loss.teacher_bank"):
        assert_close(found[bank], expected[bank])
        assert_close(found[bank].norm(dim=1), torch.ones(60))  # all were seen


def test_correlations_are_exact_over_two_workers(tmp_path):
    data = write_data(tmp_path / "data", sentences=[("train", 32), ("valid", 39)], regression=True)
    teacher = write_teacher(tmp_path / "model.pt", classes=1)
    one, two = (
        distil_command(data, tmp_path / name, teacher, "kd", "--batch-size 8 --lr 0") for name in ("1", "2")
    )
    [expected] = values_of(train_here(one), "valid")
    [found] = logged(train_by_two_workers(two), "valid")
    for key in ("valid_pearson", "valid_spearman", "valid_loss"):
        assert found[key] == pytest.approx(expected[key], abs=1e-3), key
