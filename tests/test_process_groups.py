"""gloo groups of all workers: lifetime and communication; work done once per machine, and errors that end all workers."""

import gc
import multiprocessing
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from fairseq_kd import process_groups
from fairseq_kd.errors import CannotStart
from fairseq_kd.process_groups import host_group, run_on_local_rank_zero

FORK = multiprocessing.get_context("fork")


@pytest.mark.slow
def test_group_is_created_once_and_freed_with_torchs(tmp_path):
    for attempt in range(2):
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{attempt}", rank=0, world_size=1)
        try:
            assert host_group() is host_group()
            assert host_group(timedelta(days=7)) is host_group(timedelta(days=7)) is not host_group()
            made = list(process_groups._groups.values())
            assert all(one() is not None for one in made)
        finally:
            dist.destroy_process_group()
        gc.collect()
        assert [one() for one in made] == [None, None]


def workers(folder: Path, machines: list[str], work) -> list:
    """Return the result of each worker, on these machines: a value, or the argument of its SystemExit."""
    found = FORK.Queue()

    def worker(rank):
        socket.gethostname = lambda: machines[rank]
        store = f"file://{folder}/store"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=len(machines))
        for _ in range(2):
            try:
                found.put((rank, run_on_local_rank_zero(lambda: work(rank))))
            except SystemExit as ended:
                found.put((rank, ended.args[0]))
        dist.destroy_process_group()

    processes = [FORK.Process(target=worker, args=(rank,)) for rank in range(len(machines))]
    for process in processes:
        process.start()
    results = sorted((found.get(timeout=60) for _ in range(2 * len(machines))), key=lambda each: each[0])
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(machines)
    assert results[::2] == results[1::2]
    return [value for _, value in results[::2]]


def test_single_worker_runs_the_work():
    assert run_on_local_rank_zero(lambda: 7) == 7
    with pytest.raises(CannotStart, match="Cannot start: no."):
        run_on_local_rank_zero(lambda: (_ for _ in ()).throw(CannotStart("no.")))


@pytest.mark.slow
def test_first_worker_of_each_machine_runs_the_work_and_others_wait(tmp_path):
    def work(rank):
        time.sleep(0.2)
        (tmp_path / f"worker{rank}").touch()
        return f"done by {rank}"

    assert workers(tmp_path, ["a", "b", "a"], work) == ["done by 0", "done by 1", "done by 0"]
    assert sorted(path.name for path in tmp_path.glob("worker*")) == ["worker0", "worker1"]


@pytest.mark.slow
def test_error_on_one_machine_ends_all_workers(tmp_path):
    def work(rank):
        if rank == 2:
            raise CannotStart("its disk is full.")
        return rank

    sentence = "Cannot start: its disk is full."
    assert workers(tmp_path, ["a", "a", "b", "b"], work) == [sentence, 1, sentence, 1]
