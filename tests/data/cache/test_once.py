"""What the first worker of a machine does for all, and how all of them end where it cannot."""

import multiprocessing
import socket
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from fairseq_kd.data.cache.once import once_a_machine
from fairseq_kd.errors import CannotStart

FORK = multiprocessing.get_context("fork")


def workers(folder: Path, machines: list[str], work) -> list:
    """What each of several workers, of these machines, gets: a value, or the argument of its SystemExit."""
    found = FORK.Queue()

    def worker(rank):
        socket.gethostname = lambda: machines[rank]
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(machines)
        )
        for _ in range(2):
            try:
                found.put((rank, once_a_machine(lambda: work(rank))))
            except SystemExit as ended:
                found.put((rank, ended.args[0]))
        dist.destroy_process_group()

    processes = [FORK.Process(target=worker, args=(rank,)) for rank in range(len(machines))]
    for process in processes:
        process.start()
    told = sorted((found.get(timeout=60) for _ in range(2 * len(machines))), key=lambda each: each[0])
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(machines)
    assert told[::2] == told[1::2]
    return [value for _, value in told[::2]]


def test_one_worker_does_it_by_itself():
    assert once_a_machine(lambda: 7) == 7
    with pytest.raises(CannotStart, match="Cannot start: no."):
        once_a_machine(lambda: (_ for _ in ()).throw(CannotStart("no.")))


def test_the_first_of_each_machine_does_it_and_the_others_wait(tmp_path):
    def work(rank):
        time.sleep(0.2)
        (tmp_path / f"worker{rank}").touch()
        return f"done by {rank}"

    assert workers(tmp_path, ["a", "b", "a"], work) == ["done by 0", "done by 1", "done by 0"]
    assert sorted(path.name for path in tmp_path.glob("worker*")) == ["worker0", "worker1"]


def test_what_ends_one_machine_ends_all(tmp_path):
    def work(rank):
        if rank == 2:
            raise CannotStart("its disk is full.")
        return rank

    sentence = "Cannot start: its disk is full."
    assert workers(tmp_path, ["a", "a", "b", "b"], work) == [sentence, 1, sentence, 1]
