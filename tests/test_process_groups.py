"""gloo groups of all workers: lifetime and communication."""

import gc
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from torch.multiprocessing import start_processes

from fairseq_kd import process_groups
from fairseq_kd.process_groups import gather_objects, host_group


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


@pytest.mark.slow
def test_objects_are_gathered_in_the_order_of_ranks(tmp_path):
    start_processes(_gather, args=(str(tmp_path),), nprocs=2, start_method="fork")
    assert [(tmp_path / f"{rank}").read_text() for rank in range(2)] == ["[0, 10]"] * 2


def _gather(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    Path(folder, f"{rank}").write_text(f"{gather_objects(10 * rank)}")
    dist.destroy_process_group()
