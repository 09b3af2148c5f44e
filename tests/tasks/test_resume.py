"""Runs that are stopped and resumed, also with other settings, and runs that have ended."""

from collections import Counter

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.tasks import FairseqTask

from fairseq_kd.errors import CannotStart
from tests.runs import check_same_weights, checkpoint, losses, values_of
from tests.tiny import distil_command, train_command, train_here, write_data, write_teacher

LAST = "checkpoint_last.pt"
BEST = "checkpoint_best.pt"


class Trained(list):
    """The rows of each batch that is trained on, up to a `kill` in the next batch but so many."""

    kill: int | None = None


@pytest.fixture
def trained(monkeypatch) -> Trained:
    rows, train_step = Trained(), FairseqTask.train_step

    def noted(self, sample, *args, **kwargs):
        if len(rows) == rows.kill:
            raise KeyboardInterrupt
        rows.append(sample["id"].tolist())
        return train_step(self, sample, *args, **kwargs)

    monkeypatch.setattr(FairseqTask, "train_step", noted)
    return rows


@pytest.fixture
def start(data, teacher, tmp_path):
    """Trains by a `kd` command with more flags, as often as it is called; returns what was logged."""

    def started(*flags: str):
        return train_here(
            distil_command(data, tmp_path, teacher, "kd", "--hard-weight 1 --soft-weight 0", *flags)
        )

    return started


def updates(rows) -> list[float]:
    return [values["num_updates"] for values in values_of(rows, "train_inner")]


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.pt")}


def saved(folder, name: str = LAST) -> dict:
    return checkpoint(folder, name)["extra_state"]


@pytest.mark.slow
def test_other_batches_train_the_rest_of_the_epoch(teacher, tmp_path, trained):
    """With a cached teacher and CRD, which know each sentence by its row; 64 sentences."""
    data = write_data(tmp_path / "bin")
    cache = ["--teacher-cache", str(tmp_path / "cache")]
    flags = ["--criterion", "crd", "--init-layers", "0,3", *cache, "--max-epoch", "2"]
    with_teacher = ["--teacher", str(teacher), *flags]
    train_here(train_command(data, tmp_path / "first", *with_teacher, "--max-epoch", "1"))  # fills the cache

    trained.clear()
    trained.kill = 3
    run_dir = tmp_path / "run"
    saving = ["--batch-size", "16", "--save-interval-updates", "2"]
    with pytest.raises(KeyboardInterrupt):
        train_here(train_command(data, run_dir, *with_teacher, *saving))
    trained.kill = None
    assert [len(batch) for batch in trained] == [16, 16, 16]
    trained.pop()  # not in the checkpoint
    # Without a teacher to ask: all that is learned from is in the cache.
    train_here(train_command(data, run_dir, *flags, "--max-tokens", "100", "--update-freq", "2"))
    assert max(len(batch) for batch in trained[2:]) < 16
    each = [row for batch in trained for row in batch]
    for epoch in (each[:64], each[64:]):
        assert Counter(epoch) == Counter(range(64))


FP16 = "--fp16 --fp16-no-flatten-grads"
GATES = "--gate-lr 1e-4 --gate-warmup-updates 4 --gate-total-updates 40 --gate-clip-norm 0.1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        f"hidden_mse_learn --mapping combine {FP16}",
        "crd --memory-efficient-fp16",
        f"lad {FP16} {GATES}",
        "sda --sda-window 3",
        f"sda --sda-form ema {FP16}",
        "kd --unlabelled-subset valid",
    ],
    ids=lambda flags: flags[:18],
)
def test_stopped_in_mid_epoch_and_resumed_equals_straight_through(data, teacher, tmp_path, flags):
    method, _, flags = flags.partition(" ")
    flags = f"{flags} --dropout 0.1 --max-epoch 2"
    straight = train_here(distil_command(data, tmp_path / "straight", teacher, method, flags))
    command = distil_command(data, tmp_path / "twice", teacher, method, flags)
    train_here([*command, "--max-update", "11"])
    resumed = train_here(command)

    found, expected = values_of(resumed, "train_inner"), values_of(straight, "train_inner")[11:]
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        terms = ours.keys() - {"wall", "train_wall", "wps", "ups", "wpb", "peak_gb"}
        assert "loss" in terms
        assert {name: ours[name] for name in terms} == {name: theirs[name] for name in terms}
    check_same_weights(tmp_path / "twice", tmp_path / "straight")
    banks = [value for name, value in checkpoint(tmp_path / "twice")["criterion"].items() if "bank" in name]
    assert all(value.dtype == torch.float32 for value in banks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "before", "now", "found"),
    [
        ("lad", "", "--lad-scope cls", "--lad-scope tokens, now cls: give another --save-dir"),
        ("kd", "--unlabelled-subset valid", "--max-epoch 3", "--unlabelled-subset"),
    ],
)
def test_a_setting_that_a_run_cannot_change_is_refused(data, teacher, tmp_path, method, before, now, found):
    train_here(distil_command(data, tmp_path, teacher, method, *filter(None, [before]), "--max-update 1"))
    with pytest.raises(CannotStart, match=found):
        train_here(distil_command(data, tmp_path, teacher, method, now))


@pytest.mark.slow
def test_resuming_does_not_initialise_again(data, teacher, tmp_path):
    source = write_teacher(tmp_path / "source.pt", seed=3)
    command = distil_command(data, tmp_path / "run", teacher, "kd", "--init-from", str(source))
    train_here(command)
    source.unlink()
    assert len(losses(train_here([*command, "--max-epoch", "2"]))) == 8


# With a learning rate of 0 no validation is better than the first.
STUCK = "--lr 0 --max-epoch 9"


@pytest.mark.slow
def test_a_run_that_lost_patience_stays_stopped(start, tmp_path):
    assert updates(start(STUCK, "--patience 2"))[-1] == 24
    before = files(tmp_path)
    assert start(STUCK, "--patience 2") == []
    assert files(tmp_path) == before

    assert updates(start(STUCK, "--patience 4")) == list(range(25, 41))
    assert start(STUCK, "--patience 4") == []


@pytest.mark.slow
def test_a_run_that_is_stopped_in_mid_patience_counts_on(start, tmp_path):
    flags = [STUCK, "--patience 5 --validate-interval-updates 4 --save-interval-updates 4"]
    start(*flags, "--max-update 12")
    assert saved(tmp_path)["early_stopping"]["num_runs"] == 2
    assert updates(start(*flags)) == list(range(13, 25))


@pytest.mark.slow
def test_another_metric_has_its_own_best(start, tmp_path, caplog):
    start(STUCK, "--patience 2")
    rows = start(STUCK, "--patience 2 --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric")
    assert updates(rows)[0] == 25
    assert saved(tmp_path)["best"] == values_of(rows, "valid")[0]["valid_accuracy"]
    assert "it was the lowest loss, but this run keeps the highest accuracy" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "end",
    [
        "--max-epoch 2",
        "--max-update 11 --max-epoch 9",
        "--stop-time-hours 1e-6 --max-epoch 9",
        "--stop-min-lr 1e-4 --max-epoch 9 --lr-shrink 0.1 --force-anneal 2",
        "--stop-min-lr 2e-4 --max-epoch 9 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-threshold 9 "
        "--lr-patience 1",
    ],
)
def test_a_finished_run_trains_nothing_and_gives_the_reason(start, tmp_path, caplog, end):
    flags = ["--keep-best-checkpoints 2 --keep-last-epochs 2", end]
    assert 0 < len(updates(start(*flags))) < 72
    before = files(tmp_path)
    with caplog.at_level("INFO"):
        assert start(*flags) == []
    assert files(tmp_path) == before
    flag = end.split()[0]
    assert ("stopping training" if flag == "--stop-min-lr" else f"Not training: {flag}") in caplog.text


@pytest.mark.slow
def test_the_learning_rate_of_a_plateau_is_that_of_a_straight_run(start, tmp_path):
    flags = "--lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-threshold 9 --lr-patience 1 --max-epoch"
    straight = start(f"{flags} 3", "--save-dir", str(tmp_path / "straight"))
    resumed = [row for epochs in "123" for row in start(f"{flags} {epochs}")]
    expected, found = (
        [values["lr"] for values in values_of(rows, "train_inner")] for rows in (straight, resumed)
    )
    assert found == expected == [1e-3] * 16 + [5e-4] * 8


@pytest.mark.slow
def test_a_resumed_run_keeps_a_better_checkpoint(start, tmp_path):
    start()
    best = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / BEST))
    state = torch.load(tmp_path / LAST, weights_only=True)
    state["extra_state"]["best"] = 0.0
    torch.save(state, tmp_path / LAST)
    start("--max-epoch 3")
    assert saved(tmp_path)["best"] == 0.0
    found = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / BEST))
    assert found["optimizer_history"][-1]["num_updates"] == best["optimizer_history"][-1]["num_updates"] == 8


@pytest.mark.slow
def test_a_reset_data_loader_begins_with_the_first_epoch(start, tmp_path, trained):
    start("--max-update 3 --max-epoch 2")
    trained.clear()
    rows = start("--max-epoch 1 --batch-size 16 --reset-dataloader")
    assert updates(rows) == [4, 5, 6, 7]
    assert Counter(row for batch in trained for row in batch) == Counter(range(64))
