"""Whole runs: every method trains, saves what it should, and resumes to the same numbers."""

import signal
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from tests.processes import Process, run, torchrun
from tests.tiny import ROOT, distil_command, logged, train_command, train_here, write_data, write_teacher


def checkpoint(folder: Path, name: str = "checkpoint_last.pt") -> dict:
    return torch.load(folder / name, weights_only=True)


def losses(rows) -> list[float]:
    return [values["loss"] for tag, values in rows if tag == "train_inner"]


@pytest.mark.slow
def test_a_run_logs_its_metrics_and_memory(data, teacher, tmp_path):
    rows = train_here(distil_command(data, tmp_path, teacher, "kd"))
    assert len(losses(rows)) == 8
    assert 0.05 < [values["train_peak_gb"] for tag, values in rows if tag == "train"][-1] < 64
    valid = [values for tag, values in rows if tag == "valid"]
    names = {"valid_loss", "valid_hard", "valid_soft", "valid_accuracy", "valid_f1", "valid_mcc"}
    assert names <= set(valid[-1])


@pytest.mark.slow
def test_two_stages(data, teacher, tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    alone = ("--hard-weight", "0", "--soft-weight", "0", "--best-checkpoint-metric", "loss")
    rows = train_here(distil_command(data, first, teacher, "att_kl_learn", *alone))
    assert all("valid_hard" not in values for tag, values in rows if tag == "valid")

    best = str(first / "checkpoint_best.pt")
    start = ("--init-from", best, "--init-layers", "all", "--max-update", "1", "--lr", "0")
    train_here(train_command(data, second, "--teacher", str(teacher), "--criterion", "kd", *start))
    body = {k: v for k, v in checkpoint(second)["model"].items() if k.startswith("encoder.")}
    expected = checkpoint(first, "checkpoint_best.pt")["model"]
    for name, value in body.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_the_best_checkpoint_follows_the_task_metric(data, teacher, tmp_path):
    metric = ("--best-checkpoint-metric", "mcc", "--maximize-best-checkpoint-metric")
    rows = train_here(
        distil_command(
            data, tmp_path, teacher, "kd", "--max-epoch", "4", "--lr", "5e-3", "--hard-weight", "1", *metric
        )
    )
    scores = [values["valid_mcc"] for tag, values in rows if tag == "valid"]
    assert checkpoint(tmp_path, "checkpoint_best.pt")["extra_state"]["best"] == pytest.approx(
        max(scores), abs=1e-3
    )


@pytest.mark.slow
def test_accumulation_equals_one_large_batch(data, teacher, tmp_path):
    # With a large epsilon the update is as smooth in the gradient as SGD's.
    smooth = ("--adam-eps", "0.1")
    one, four = (
        distil_command(data, tmp_path / name, teacher, "att_kl_hidden_mse", *flags.split(), *smooth)
        for name, flags in {"one": "--batch-size 64", "four": "--batch-size 16 --update-freq 4"}.items()
    )
    (expected,), (found,) = losses(train_here(one)), losses(train_here(four))
    assert found == pytest.approx(expected, abs=2e-5)
    for name, value in checkpoint(tmp_path / "one")["model"].items():
        assert_close(checkpoint(tmp_path / "four")["model"][name], value, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
def test_resuming_does_not_initialise_again(data, tmp_path):
    teacher = write_teacher(tmp_path / "teacher" / "model.pt")
    source = write_teacher(tmp_path / "source.pt", seed=3)
    flags = ("--init-from", str(source), "--max-epoch")
    train_here(distil_command(data, tmp_path / "run", teacher, "kd", *flags, "1"))

    source.unlink()
    rows = train_here(distil_command(data, tmp_path / "run", teacher, "kd", *flags, "2"))
    assert len(losses(rows)) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "last"), [("hidden_mse_learn", "checkpoint_2_35.pt"), ("crd", "checkpoint_1_7.pt")]
)
def test_killed_in_mid_epoch_and_resumed_equals_straight_through(tmp_path, teacher, method, last):
    data = write_data(tmp_path / "data", sentences=[("train", 240), ("valid", 40)])
    flags = ["--max-epoch", "2", "--save-interval-updates", "7", "--dropout", "0.1"]
    flags += ["--mapping", "combine"] if method == "hidden_mse_learn" else []
    straight = train_here(distil_command(data, tmp_path / "straight", teacher, method, *flags))

    run_dir = tmp_path / "killed"
    killed = Process(distil_command(data, run_dir, teacher, method, *flags))
    _wait_for(run_dir / last, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    rows = train_here(distil_command(data, run_dir, teacher, method, *flags))
    resumed = losses(rows)
    assert 0 < len(resumed) < 60
    assert resumed == losses(straight)[-len(resumed) :]

    expected, found = checkpoint(tmp_path / "straight"), checkpoint(run_dir)
    for part in ("model", "criterion"):
        assert found[part].keys() == expected[part].keys()
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), name


def _wait_for(path: Path, process: Process) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path, teacher):
    data = write_data(tmp_path / "data", sentences=[("train", 60), ("valid", 39)])
    common = ["--batch-size", "8", "--mapping", "combine", "--max-epoch", "2"]
    one = train_here(
        distil_command(data, tmp_path / "one", teacher, "hidden_mse_learn", *common, "--update-freq", "2")
    )

    flags = ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    command = distil_command(data, tmp_path / "two", teacher, "hidden_mse_learn", *common, *flags)
    result = torchrun(command)
    assert result.returncode == 0, result.stderr[-2000:]

    keys = ["loss", "hard", "soft", "hidden", "accuracy", "mcc", "gnorm"]
    expected = [values for tag, values in one if tag == "train_inner"]
    found = logged(result.stdout + result.stderr, "train_inner")
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert [ours[key] for key in keys] == pytest.approx([theirs[key] for key in keys], abs=2e-3)

    valid = [values for tag, values in one if tag == "valid"]
    for ours, theirs in zip(logged(result.stdout + result.stderr, "valid"), valid, strict=True):
        for key in ("valid_loss", "valid_accuracy", "valid_f1", "valid_mcc"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-3), key

    for part in ("model", "criterion"):
        expected = checkpoint(tmp_path / "one")[part]
        for name, value in checkpoint(tmp_path / "two")[part].items():
            assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_workers_remember_what_one_does(tmp_path, teacher):
    # 15 batches of 4 for two workers: each epoch, the last turn of one is filled up with a batch of the
    # validation set, which is larger, so that its numbers fit no bank. At a rate of 0 features stay the same.
    data = write_data(tmp_path / "data", sentences=[("train", 60), ("valid", 90)])
    common = ["--max-epoch", "2", "--lr", "0", "--crd-negatives", "20", "--valid-subset", "valid"]
    common += ["--validate-interval-updates", "3", "--no-epoch-checkpoints"]
    train_here(distil_command(data, tmp_path / "one", teacher, "crd", *common, "--batch-size", "8"))

    flags = ["--batch-size", "4", "--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    command = distil_command(data, tmp_path / "two", teacher, "crd", *common, *flags)
    result = torchrun(command)
    assert result.returncode == 0, result.stderr[-2000:]

    expected, found = (checkpoint(tmp_path / name)["criterion"] for name in ("one", "two"))
    for bank in ("crd.loss.student_bank", "crd.loss.teacher_bank"):
        assert_close(found[bank], expected[bank])
        assert_close(found[bank].norm(dim=1), torch.ones(60))  # all were seen


@pytest.mark.slow
def test_correlations_are_exact_over_two_workers(tmp_path):
    data = write_data(tmp_path / "data", sentences=[("train", 32), ("valid", 39)], regression=True)
    teacher = write_teacher(tmp_path / "model.pt", classes=1)
    common = ["--batch-size", "8", "--lr", "0"]
    one = train_here(distil_command(data, tmp_path / "one", teacher, "kd", *common))

    flags = ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    result = torchrun(distil_command(data, tmp_path / "two", teacher, "kd", *common, *flags))
    assert result.returncode == 0, result.stderr[-2000:]
    (found,) = logged(result.stdout + result.stderr, "valid")
    (expected,) = (values for tag, values in one if tag == "valid")
    for key in ("valid_pearson", "valid_spearman", "valid_loss"):
        assert found[key] == pytest.approx(expected[key], abs=1e-3), key


@pytest.mark.slow
def test_a_trained_student_validates_as_it_did(data, teacher, tmp_path):
    rows = train_here(distil_command(data, tmp_path, teacher, "att_kl_learn"))
    (expected,) = (values for tag, values in rows if tag == "valid")

    task = ["--user-dir", str(ROOT / "fairseq_kd"), "--task", "sentence_prediction_kd", "--batch-size", "8"]
    result = run(
        ["fairseq-validate", str(data), *task, "--path", str(tmp_path / "checkpoint_last.pt"), "--cpu"]
    )

    assert result.returncode == 0, result.stderr[-2000:]
    line = next(
        line for line in (result.stdout + result.stderr).splitlines() if "valid on 'valid' subset" in line
    )
    found = dict(part.split(" ", 1) for part in line.split(" | ")[4:])
    for key in ("loss", "attention", "accuracy", "mcc"):
        assert float(found[key]) == pytest.approx(expected[f"valid_{key}"], abs=1e-3), key


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["hidden_mse_learn", "--mapping", "combine", "--fp16", "--fp16-no-flatten-grads"],
        ["crd", "--memory-efficient-fp16"],
    ],
    ids=lambda flags: flags[0],
)
def test_half_precision_trains_and_resumes_exactly(data, teacher, tmp_path, flags):
    straight = train_here(distil_command(data, tmp_path / "straight", teacher, *flags, "--max-epoch", "2"))
    train_here(distil_command(data, tmp_path / "twice", teacher, *flags))
    resumed = train_here(distil_command(data, tmp_path / "twice", teacher, *flags, "--max-epoch", "2"))

    assert losses(resumed) == losses(straight)[-8:]
    expected, found = checkpoint(tmp_path / "straight"), checkpoint(tmp_path / "twice")
    for part in ("model", "criterion"):
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), name
            assert "bank" not in name or value.dtype == torch.float32


@pytest.mark.slow
def test_a_setting_that_a_run_cannot_change_is_refused_on_resume(data, teacher, tmp_path):
    train_here(distil_command(data, tmp_path, teacher, "lad", "--max-update", "1"))
    refusal = "was started with --lad-scope tokens, now cls: give another --save-dir"
    with pytest.raises(CannotStart, match=refusal):
        train_here(distil_command(data, tmp_path, teacher, "lad", "--lad-scope", "cls"))


@pytest.mark.slow
def test_a_teacher_of_another_task_is_said(data, teacher, tmp_path, caplog):
    train_here(distil_command(data, tmp_path / "teacher", teacher, "kd", "--max-update", "1"))
    assert "was fine-tuned on" not in caplog.text

    other = write_data(tmp_path / "OTHER-bin")
    meta = (other / "meta.json").read_text()
    (other / "meta.json").write_text(meta.replace('"TINY"', '"OTHER"'))
    last = tmp_path / "teacher" / "checkpoint_last.pt"
    train_here(
        train_command(
            other, tmp_path / "student", "--teacher", str(last), "--criterion", "kd", "--max-update", "1"
        )
    )
    assert "was fine-tuned on TINY, but" in caplog.text
