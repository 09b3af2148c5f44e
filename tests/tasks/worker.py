"""One of the processes that torchrun starts: trains by each of several commands in turn, and notes what it reads.

    torchrun --nproc-per-node 2 worker.py COMMANDS.json NOTES

COMMANDS.json  {name: the words of a `fairseq-train` command}; one start of torch and fairseq serves all
NOTES          gets NAME.RANK.jsonl: a line for each batch that is trained on, with its blocks' numbers

KILL=RANK:UPDATE in the environment kills that worker at its UPDATEth update, and KILL=RANK:SHARE when more than
that share of its time budget is used, as `kill -9` would; not once torchrun has started it again.
"""

import json
import os
import signal
import sys
from pathlib import Path

from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer
from fairseq_cli import train

RANK = os.environ["RANK"]


def note_batches(notes: Path) -> None:
    """Write a line for each batch, to a file named after the training in `running`."""
    train_step, begin_epoch = FairseqTask.train_step, Trainer.begin_epoch

    def noted_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs):
        timer = getattr(FairseqTask.trainer.lr_scheduler, "timer", None)
        kill(update_num, timer)
        line = {
            "epoch": self.epoch_begun,
            "update": update_num,
            "blocks": sample["id"].tolist(),
            "filler": ignore_grad,
            "stage": str(criterion.stages.current),
            "restarts": int(os.environ["TORCHELASTIC_RESTART_COUNT"]),
            "share": timer and timer.share,
        }
        with (notes / f"{running}.{RANK}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs)

    def noted_epoch(self, epoch):
        self.task.epoch_begun, FairseqTask.trainer = epoch, self
        return begin_epoch(self, epoch)

    FairseqTask.train_step, Trainer.begin_epoch = noted_step, noted_epoch


def kill(update: int, timer) -> None:
    rank, _, when = os.environ.get("KILL", "").partition(":")
    if rank != RANK or os.environ["TORCHELASTIC_RESTART_COUNT"] != "0":
        return
    if update == int(when) if when.isdecimal() else timer.share > float(when):
        os.kill(os.getpid(), signal.SIGKILL)


os.dup2(1, 2)  # so that the order of all output is kept
commands, notes = map(Path, sys.argv[1:])
note_batches(notes)
for running, command in json.loads(commands.read_text()).items():  # noqa: B007 - read by noted_step
    if RANK == "0":
        print(f"\nTRAINING {running}\n", flush=True)
    sys.argv = command
    train.cli_main()
