"""Masked-LM pre-training by torchrun: two workers read all blocks, equal one worker, and survive a kill -9."""

import json
import os
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import processes
from tests.runs import check_same_weights, checkpoint, values_of
from tests.tiny import logged, train_command, train_here, write_text

pytestmark = pytest.mark.slow

# Blocks of the two shards; in batches of 4 these are 11 batches and 9, the last of each incomplete.
BLOCKS = {"first": 42, "second": 35}
BATCHES = {"first": 11, "second": 9}
LEGACY = ["--ddp-backend", "legacy_ddp"]
PYTORCH = ["--ddp-backend", "pytorch_ddp"]

# With a large epsilon the update is as smooth in the gradient as SGD's.
FLAGS = ["--tokens-per-sample", "24", "--batch-size", "4", "--criterion", "att_kl_learn", "--init-layers", "0,3",
         "--hard-weight", "0.5", "--soft-weight", "0.5", "--vocabulary-chunk", "7", "--adam-eps", "0.1",
         "--max-epoch", "3"]  # fmt: skip


class Runs(NamedTuple):
    """What two workers wrote, and where they left checkpoints and notes."""

    output: str
    folder: Path

    def notes(self, name: str, rank: int) -> list[dict]:
        lines = (self.folder / "notes" / f"{name}.{rank}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def log(self, name: str, tag: str) -> list[dict]:
        """Return the statistics that one of the runs logged under a tag."""
        runs = dict(part.split("\n", 1) for part in self.output.split("\nTRAINING ")[1:])
        return logged(runs[name], tag)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    """Two shards; an epoch reads one of them."""
    folder = tmp_path_factory.mktemp("shards")
    for name, lines in (("first", 100), ("second", 76)):
        write_text(folder / name, lines=(("train", lines), ("valid", 60)), seed=1)
    return os.pathsep.join(str(folder / name) for name in BLOCKS)


def pretraining(data: str, save_dir: Path, lm_teacher: Path, *flags: str) -> list[str]:
    return train_command(data, save_dir, "--teacher", str(lm_teacher), *FLAGS, *flags, task="masked_lm_kd")


def torchrun(folder: Path, commands: dict[str, list[str]], *flags: str, kill: str = "") -> Runs:
    """Two workers run `commands` one after the other (see `worker.py`)."""
    (folder / "notes").mkdir()
    gloo = {name: [*command, "--distributed-backend", "gloo"] for name, command in commands.items()}
    (folder / "commands.json").write_text(json.dumps(gloo))
    worker = ["python", Path(__file__).with_name("worker.py"), folder / "commands.json", folder / "notes"]
    # Without it a restart meets the addresses of those that are gone, and may wait for them for ever.
    variables = {"KILL": kill, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    result = processes.torchrun(worker, *flags, env=variables)
    assert result.returncode == 0, result.stdout[-3000:]
    return Runs(result.stdout, folder)


@pytest.fixture(scope="module")
def workers(shards, lm_teacher, tmp_path_factory) -> Runs:
    """Run the same training in several ways, each with two workers."""
    folder = tmp_path_factory.mktemp("workers")
    ways = {
        "legacy": LEGACY,
        "accumulated": [*LEGACY, "--update-freq", "2"],
        "pytorch": PYTORCH,
        "pytorch_unused": [*PYTORCH, "--find-unused-parameters"],
    }
    commands = {name: pretraining(shards, folder / name, lm_teacher, *flags) for name, flags in ways.items()}
    few = write_text(folder / "few", lines=(("train", 4), ("valid", 4)))
    commands["one_batch"] = pretraining(str(few), folder / "one_batch", lm_teacher, *LEGACY)
    # One worker stops after 3 of the 9 batches of the second epoch.
    train_here(pretraining(shards, folder / "resumed", lm_teacher, "--max-update 14"))
    commands["resumed"] = pretraining(shards, folder / "resumed", lm_teacher, *LEGACY)
    return torchrun(folder, commands)


@pytest.fixture(scope="module")
def one(shards, lm_teacher, tmp_path_factory):
    """Return a function that trains in one process and returns the logged statistics and the run directory."""
    folder = tmp_path_factory.mktemp("one")

    @cache
    def train(update_freq: int):
        save_dir = folder / str(update_freq)
        return train_here(pretraining(shards, save_dir, lm_teacher, f"--update-freq {update_freq}")), save_dir

    return train


@pytest.mark.parametrize(
    ("name", "update_freq"), [("legacy", 2), ("accumulated", 4), ("pytorch", 2), ("pytorch_unused", 2)]
)
def test_two_workers_equal_one(workers, one, name, update_freq):
    rows, expected = one(update_freq)
    keys = {
        "train_inner": ["loss", "hard", "soft", "attention", "ppl", "gnorm"],
        "valid": ["valid_loss", "valid_hard", "valid_soft", "valid_attention", "valid_ppl"],
    }
    for tag, names in keys.items():
        theirs, ours = values_of(rows, tag), workers.log(name, tag)
        assert len(ours) == len(theirs) > 0
        for mine, other in zip(ours, theirs, strict=True):
            assert [mine[key] for key in names] == pytest.approx([other[key] for key in names], rel=1e-3)
    check_same_weights(workers.folder / name, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["legacy", "accumulated", "pytorch"])
def test_each_block_is_read_once_an_epoch(workers, name):
    lines = [line for rank in (0, 1) for line in workers.notes(name, rank)]
    for epoch, shard in (1, "first"), (2, "second"), (3, "first"):
        batches = [line["blocks"] for line in lines if line["epoch"] == epoch and not line["filler"]]
        assert len(batches) == BATCHES[shard]
        assert Counter(block for batch in batches for block in batch) == Counter(range(BLOCKS[shard]))
        fillers = [line for line in lines if line["epoch"] == epoch and line["filler"]]
        assert len(fillers) == 1  # an odd number of batches


def test_fewer_batches_than_workers_are_trained_once(workers):
    """The second worker gets a filler, which counts for nothing."""
    lines = [line for rank in (0, 1) for line in workers.notes("one_batch", rank)]
    assert sorted((line["epoch"], line["filler"]) for line in lines) == [
        (epoch, filler) for epoch in (1, 2, 3) for filler in (False, True)
    ]
    assert [values["bsz"] for values in workers.log("one_batch", "train_inner")] == [1, 1, 1]


def test_two_workers_continue_in_mid_epoch_after_one_worker(workers):
    """They train the same batches as one worker would, two at a time."""
    lines = [line for rank in (0, 1) for line in workers.notes("resumed", rank) if not line["filler"]]
    second, third = ([line["blocks"] for line in lines if line["epoch"] == epoch] for epoch in (2, 3))
    straight = [
        line["blocks"]
        for update in zip(workers.notes("legacy", 0), workers.notes("legacy", 1), strict=True)
        for line in update
        if line["epoch"] == 2 and not line["filler"]
    ]
    assert sorted(second) == sorted(straight[3:])
    assert Counter(block for batch in third for block in batch) == Counter(range(BLOCKS["first"]))
    assert [values["num_updates"] for values in workers.log("resumed", "train_inner")] == list(range(15, 24))


def test_a_killed_worker_is_restarted_in_mid_shard_to_the_same_weights(workers, shards, lm_teacher, tmp_path):
    saving = [*LEGACY, "--save-interval-updates", "4"]
    command = pretraining(shards, tmp_path / "killed", lm_teacher, *saving)
    runs = torchrun(tmp_path, {"killed": command}, "--max-restarts", "1", kill="1:10")

    assert "checkpoint_last.pt (epoch 2 @ 8 updates)" in runs.output
    for rank in (0, 1):
        lines = runs.notes("killed", rank)
        updates = [line["update"] for line in lines]
        assert updates[-9:] == list(range(8, 17))
        assert updates[:-9] in (list(range(10)), list(range(11)))  # the other may have begun another one
        read, expected = (
            [each["blocks"] for each in found[-9:] if not each["filler"]]
            for found in (lines, workers.notes("legacy", rank))
        )
        assert read == expected

    check_same_weights(tmp_path / "killed", workers.folder / "legacy")


def test_a_time_budget_is_kept_by_two_workers_and_over_a_restart(shards, lm_teacher, tmp_path):
    """7.2 seconds, left after 4.32: kept checkpoints after 0.72 and 2.16, a switch at 1.44, a kill after 2.88."""
    budget = ["--lr-scheduler", "time_budget", "--total-training-time", "0.002", "--early-exit-time", "0.0012",
              "--finetune-checkpoint-shares", "0.1,0.3", "--finetune-checkpoint-at-end", "--two-stage", "0.2",
              "--max-epoch", "0", "--validate-interval", "1000", "--save-interval", "1000"]  # fmt: skip
    command = pretraining(shards, tmp_path / "timed", lm_teacher, *LEGACY, *budget)
    runs = torchrun(tmp_path, {"timed": command}, "--max-restarts", "1", kill="1:0.4")

    first, second = (runs.notes("timed", rank) for rank in (0, 1))
    assert first[-1]["update"] == second[-1]["update"]  # they stopped together
    stages = [{line["update"]: line["stage"] for line in notes} for notes in (first, second)]
    assert stages[0] == stages[1]
    in_order = [stages[0][update] for update in sorted(stages[0])]
    switch = in_order.index("0.5 hard + 0.5 soft + 1 inter")
    assert set(in_order[:switch]) == {"1 hard"}
    assert len(set(in_order[switch:])) == 1

    for name, at in ("share0.1", 0.72), ("share0.3", 2.16), ("end", 4.32):
        history = checkpoint(tmp_path / "timed", f"checkpoint_{name}.pt")["optimizer_history"]
        assert at <= history[-1]["lr_scheduler_state"]["elapsed"] < at + 1.5
        assert runs.output.count(f"Saving checkpoint to {tmp_path / 'timed'}/checkpoint_{name}.pt") == 1

    before, after = ([line for line in first if line["restarts"] == times] for times in (0, 1))
    assert before[-1]["share"] > 0.3
    assert after[0]["share"] >= 0.3  # it goes on from the checkpoint of that time
    assert after[0]["update"] <= before[-1]["update"]


def test_two_stages_with_pytorch_ddp_are_refused_before_training(shards, lm_teacher, tmp_path):
    """When the criterion checks it, fairseq has set the number of workers from torchrun's environment."""
    budget = ["--lr-scheduler", "time_budget", "--total-training-time", "1", "--two-stage", "0.5"]
    flags = [*PYTORCH, *budget, "--distributed-backend", "gloo"]
    result = processes.torchrun(pretraining(shards, tmp_path / "run", lm_teacher, *flags))
    assert result.returncode != 0
    assert re.search("--two-stage 0.5 .* --ddp-backend pytorch_ddp: add", result.stderr)
    assert not list((tmp_path / "run").glob("*.pt"))
