"""Trainings with a time budget on a fake clock: complete runs, single updates, two workers."""

import json
import math
import multiprocessing
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from fairseq import checkpoint_utils

from fairseq_kd.schedules import time_budget
from fairseq_kd.schedules.timed_trainer import TimedTrainer, should_stop_early
from fairseq_kd.schedules.timer import Budget, Timer
from tests.runs import values_of
from tests.schedules.test_flags import config
from tests.schedules.test_timer import FakeTime
from tests.tiny import train_command, train_here

STUDENT = ["--encoder-layers", "2", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32",
           "--encoder-attention-heads", "4", "--max-positions", "40", "--tokens-per-sample", "24"]  # fmt: skip
PLAIN = ["--criterion", "kd", "--hard-weight", "1", "--soft-weight", "0", "--init-layers", "random", *STUDENT]
ENDLESS = ["--max-epoch", "100000", "--no-epoch-checkpoints", "--validate-interval", "100000",
           "--save-interval", "100000", "--lr-scheduler", "time_budget"]  # fmt: skip


class SteppedTime:
    """Advances 0.1 seconds with each reading, at least one an update, and ends the run at `killed_at`."""

    def __init__(self, killed_at: float = math.inf) -> None:
        self.seconds = 0.0
        self.killed_at = killed_at

    def __call__(self) -> float:
        self.seconds += 0.1
        if self.seconds > self.killed_at:
            raise KeyboardInterrupt
        return self.seconds


@pytest.fixture(autouse=True)
def stepped_time(monkeypatch) -> SteppedTime:
    time = SteppedTime()
    monkeypatch.setattr(time_budget, "Timer", partial(Timer, now=time))
    return time


def budget(seconds: float, *flags: str) -> list[str]:
    return [*PLAIN, *ENDLESS, "--total-training-time", str(seconds / 3600), *flags]


def command(text, save_dir, *flags):
    return train_command(text, save_dir, *flags, task="masked_lm_kd")


def counted(rows) -> list[float]:
    return [values["counted_seconds"] for values in values_of(rows, "train_inner")]


def validations(rows) -> list[dict[str, float]]:
    return values_of(rows, "valid")


# Seconds are logged with one decimal.
ROUNDING = 0.051


def state(path) -> dict:
    return torch.load(path)["optimizer_history"][-1]["lr_scheduler_state"]


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_when_its_time_is_over(text, tmp_path, stepped_time):
    shares = ["--finetune-checkpoint-shares", "0.25,0.75", "--finetune-checkpoint-at-end"]
    flags = budget(4, *shares, "--lr-warmup", "0", "--validation-interval", "0.2")
    stepped_time.killed_at = 2.0
    with pytest.raises(KeyboardInterrupt):
        train_here(command(text, tmp_path, *flags))
    saved = state(tmp_path / "checkpoint_last.pt")
    assert 1.0 <= saved["seen"] <= saved["elapsed"] < 2.0
    written = os.stat(tmp_path / "checkpoint_share0.25.pt").st_mtime_ns

    stepped_time.killed_at = math.inf
    rows = train_here(command(text, tmp_path, *flags))
    times = counted(rows)
    assert saved["elapsed"] - ROUNDING <= times[0] < saved["elapsed"] + 0.5
    assert times == sorted(times)
    assert 4.0 <= times[-1] < 4.5
    for values in values_of(rows, "train_inner"):
        assert values["lr"] == pytest.approx(1e-3 * max(0.0, 1 - values["counted_seconds"] / 4), abs=2e-5)

    # The checkpoint of the first share is not written again, that of the second is written, and the end is validated.
    assert os.stat(tmp_path / "checkpoint_share0.25.pt").st_mtime_ns == written
    assert {path.name for path in tmp_path.glob("*.pt")} == {
        "checkpoint_best.pt", "checkpoint_last.pt", "checkpoint_share0.25.pt", "checkpoint_share0.75.pt",
        "checkpoint_end.pt"}  # fmt: skip
    assert validations(rows)[-1]["valid_num_updates"] == values_of(rows, "train_inner")[-1]["num_updates"]
    assert 0.75 * 4 <= state(tmp_path / "checkpoint_share0.75.pt")["seen"] < 4.0

    # The same command trains nothing more.
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    assert counted(train_here(command(text, tmp_path, *flags))) == []
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.slow
def test_a_run_with_a_bad_loss_is_stopped(text, tmp_path):
    flags = budget(600, "--early-stop-minutes", str(1 / 60), "--early-stop-loss", "0.1")
    rows = train_here(command(text, tmp_path, *flags, "--finetune-checkpoint-at-end"))
    assert 1.0 <= counted(rows)[-1] < 1.5
    assert len(validations(rows)) == 1
    assert {path.name for path in tmp_path.glob("*.pt")} == {"checkpoint_best.pt", "checkpoint_last.pt"}

    # It stays stopped.
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    assert train_here(command(text, tmp_path, *flags, "--finetune-checkpoint-at-end")) == []
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.slow
def test_the_objective_switches_at_a_share(text, lm_teacher, tmp_path):
    flags = ["--teacher", str(lm_teacher), "--criterion att_kl_learn --init-layers 0,3 --tokens-per-sample 24",
             "--two-stage", "0.75", "--validation-interval", "0.25", *ENDLESS, "--total-training-time"]  # fmt: skip
    rows = train_here(command(text, tmp_path / "run", *flags, str(6 / 3600)))
    learned = [{"hard", "attention"} & values.keys() for values in values_of(rows, "train_inner")]
    switch = learned.index({"attention"})
    assert learned == [{"hard"}] * switch + [{"attention"}] * (len(learned) - switch)

    seen = validations(rows)
    assert "valid_hard" in seen[0]
    assert "valid_hard" not in seen[-1]
    # The best loss on masked words is no measure of what comes after.
    assert "valid_best_loss" not in next(values for values in seen if "valid_attention" in values)
    assert torch.load(tmp_path / "run" / "checkpoint_last.pt")["extra_state"]["best"] < 2

    # A run resumed in its second stage keeps its own best.
    more = train_here(command(text, tmp_path / "run", *flags, str(7.5 / 3600)))
    assert all("attention" in values for values in values_of(more, "train_inner"))
    assert "valid_best_loss" in validations(more)[0]


AT_END = {"finetune_checkpoint_at_end": True}


class FakeTraining:
    """Training on a fake clock: the caller gives the seconds of each update; a validation takes 100."""

    def __init__(self, monkeypatch, losses=(), scale=None, state=None, flags=None, **budget):
        from fairseq_cli import train

        self.time = FakeTime()
        self.losses, self.saved, self.validated, self.kept = iter(losses), [], [], []
        self.timer = Timer(Budget(**budget), self.time)
        if state is not None:
            self.timer.load_state_dict(state)
        early_stop = {"early_stop_loss": 6.0, "early_stop_minutes": 0.5}
        self.loop = TimedTrainer(self.timer, config(**early_stop, **(flags or {})))
        self.trainer = SimpleNamespace(
            lr_scheduler=SimpleNamespace(loop=self.loop),
            get_criterion=lambda: None,
            optimizer=SimpleNamespace(scaler=SimpleNamespace(loss_scale=scale) if scale else None),
            consolidate_optimizer=lambda: None,
            checkpoint_suffix="",
            should_save_checkpoint_on_current_rank=True,
            save_checkpoint=lambda path, extra: self.kept.append(path),
        )
        self.cfg = SimpleNamespace(
            dataset=SimpleNamespace(disable_validation=False),
            optimization=SimpleNamespace(max_epoch=0),
            checkpoint=SimpleNamespace(patience=0, save_dir=""),
        )
        self.epochs = SimpleNamespace(state_dict=dict)
        self.train = train
        monkeypatch.setattr(train, "validate", lambda *args: self.loop.validate(self.validate, *args))
        monkeypatch.setattr(checkpoint_utils, "save_checkpoint", lambda *args: self.saved.append(args[-1]))
        self.epoch()

    def epoch(self):
        """Return the result of an epoch without updates: "trained", or the loop's own if it trains nothing."""
        return self.loop.train(lambda *args: "trained", self.cfg, self.trainer, None, self.epochs)

    def validate(self, *args):
        self.time.seconds += 100
        self.validated.append(self.timer.elapsed)
        return [next(self.losses)]

    def update(self, step: float, original=lambda *args: ([None], False)):
        self.time.seconds += step
        self.timer.read()
        return self.loop.validate_and_save(
            original, self.cfg, self.trainer, None, self.epochs, ["valid"], False
        )


def test_validation_time_is_counted_only_when_asked(monkeypatch):
    for counted_too, seconds in ((False, 20.0), (True, 120.0)):
        flags = {"count_validation_time": counted_too}
        training = FakeTraining(monkeypatch, [5.0], flags=flags, total=1000.0, validations=(10.0,))
        assert training.update(10.0) == ([5.0], False)
        training.update(10.0)
        assert training.timer.elapsed == seconds
        assert training.saved == [5.0]


@pytest.mark.parametrize(
    ("losses", "validated"),
    [([7.0, 5.9, 5.0], [10.0, 30.0, 50.0]), ([5.0, 6.0], [10.0, 30.0]), ([float("nan")], [10.0])],
)
def test_validations_are_judged_in_time(monkeypatch, losses, validated):
    training = FakeTraining(monkeypatch, losses, total=1000.0, end=60.0, validations=(10.0, 30.0, 50.0))
    stops = [training.update(10.0)[1] for _ in range(int(validated[-1]) // 10)]
    assert training.validated == validated
    assert stops == [False] * (len(stops) - 1) + [len(losses) < 3]


def test_a_run_that_stopped_early_continues_only_if_its_flags_allow_it(monkeypatch):
    training = FakeTraining(monkeypatch, [7.0], total=1000.0, end=60.0, validations=(40.0,))
    assert training.update(40.0) == ([7.0], True)
    judged = training.loop.last_validation
    assert judged == (7.0, 40.0)

    training = FakeTraining(monkeypatch, total=1000.0, end=60.0)
    training.loop.last_validation = judged
    assert training.epoch() == ([None], True)
    training.loop.cfg.early_stop_loss = 8.0
    assert training.epoch() == "trained"
    training.loop.low_updates = 100
    assert training.epoch() == ([None], True)


def test_the_end_is_not_validated_twice(monkeypatch):
    training = FakeTraining(monkeypatch, total=10.0, end=10.0)
    assert training.update(10.0, original=lambda *args: ([4.0], False)) == ([4.0], True)
    assert (training.validated, training.saved) == ([], [4.0])


def test_time_that_runs_out_between_epochs_ends_the_run_after_one_update(monkeypatch):
    training = FakeTraining(monkeypatch, [4.0], total=10.0, end=10.0, flags=AT_END)
    assert training.update(9.0) == ([None], False)
    training.time.seconds += 5.0  # an epoch's end is saved
    training.timer.read()  # by fairseq's lr_step
    assert training.epoch() == "trained"
    assert training.update(0.1) == ([4.0], True)
    assert (training.kept, training.saved) == (["checkpoint_end.pt"], [4.0])
    assert training.epoch() == ([None], True)


@pytest.mark.parametrize("ended", [{"ended": 0.0}, {}])
def test_a_run_that_was_killed_after_its_time_ends_when_it_is_resumed(monkeypatch, ended):
    state = {"elapsed": 10.5, "seen": 10.5, **ended}
    training = FakeTraining(monkeypatch, [4.0], total=10.0, end=10.0, flags=AT_END, state=state)
    assert training.epoch() == "trained"
    assert training.update(0.1) == ([4.0], True)
    assert (training.kept, training.saved) == (["checkpoint_end.pt"], [4.0])

    saved = training.timer.state_dict()
    assert FakeTraining(monkeypatch, total=10.0, end=10.0, state=saved).epoch() == ([None], True)
    assert FakeTraining(monkeypatch, total=20.0, end=20.0, state=saved).epoch() == "trained"


def test_a_share_is_kept_before_anything_says_so(monkeypatch):
    """A run that is killed in the validation after a checkpoint of its own has passed the mark."""
    training = FakeTraining(monkeypatch, total=100.0, checkpoints={10.0: 0.1})

    def saved_and_killed(*args):
        assert training.timer.state_dict()["seen"] == 10.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.update(10.0, saved_and_killed)
    assert training.kept == ["checkpoint_share0.1.pt"]


@pytest.mark.parametrize(
    ("value", "minutes", "reason"),
    [
        (7.0, 2.9, None),
        (7.0, 3.0, "loss is 7 after 3.0 minutes, and should be below 6 after 3"),
        (6.0, 3.0, "loss is 6 after 3.0 minutes, and should be below 6 after 3"),
        (5.99, 3.0, None),
    ],
)
def test_a_loss_must_be_below_its_limit_in_time_and_a_score_above(value, minutes, reason):
    found = should_stop_early(config(early_stop_loss=6.0, early_stop_minutes=3.0), value, minutes * 60)
    assert found is None if reason is None else reason in found
    metric = {"best_checkpoint_metric": "accuracy", "maximize_best_checkpoint_metric": True}
    cfg = config(early_stop_loss=60.0, early_stop_minutes=0.01, **metric)
    assert should_stop_early(cfg, 60.5, 1.0) is None
    assert "above 60" in should_stop_early(cfg, 60.0, 1.0)


def test_nan_stops_at_once_without_any_limit():
    assert "not a number" in should_stop_early(config(), math.nan, 0.0)
    assert should_stop_early(config(), 1e9, 1e9) is None


def test_a_hundred_updates_with_a_low_loss_scale_stop_and_save(monkeypatch):
    training = FakeTraining(monkeypatch, scale=1.0, total=1000.0, end=1000.0)
    scaler = training.trainer.optimizer.scaler
    for scale, updates in ((1.0, 99), (2.0, 1), (0.5, 99)):
        scaler.loss_scale = scale
        assert [training.update(0.01)[1] for _ in range(updates)] == [False] * updates
    assert training.update(0.01)[1]
    assert training.saved == [None]


def two_workers(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    time = FakeTime()
    timer = Timer(Budget(72.0, 54.0, (10.0, 20.0), {18.0: 0.25}), time)
    timer.start()
    loop = TimedTrainer(timer, config(early_stop_loss=6.0, early_stop_minutes=0.0))

    seen = []
    for step in (9.5, 0.7, 8.0, 40.0):
        time.seconds += step if rank == 0 else 3.3 * step
        timer.read()
        due = timer.due()
        loss = 5.0 + 0.4 * len(seen) - 0.9 * rank  # never above the limit on rank 1
        loop.validate(lambda *args, loss=loss: [loss], None, None, None, None, ["valid"])
        seen.append([timer.elapsed, due.validation, due.checkpoints, due.over, loop.stop_reason is not None])
    (Path(folder) / f"{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


def test_two_workers_act_alike(tmp_path):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=two_workers, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert [row[0] for row in first] == pytest.approx([9.5, 10.2, 18.2, 58.2])
    assert [row[1:] for row in first] == [
        [False, [], False, False],
        [True, [], False, False],
        [False, [0.25], False, False],
        [True, [], True, True],
    ]
