"""Groups last as long as torch's own record of them."""

import gc
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch.multiprocessing import spawn

from fairseq_kd import process_groups
from fairseq_kd.process_groups import host_group, of_all, workers_here


def test_a_group_is_made_once_and_ends_with_torchs_own(tmp_path):
    for attempt in range(2):
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{attempt}", rank=0, world_size=1)
        try:
            assert host_group() is host_group()
            assert host_group(timedelta(days=7)) is host_group(timedelta(days=7)) is not host_group()
            made = list(process_groups._made.values())
            assert all(one() is not None for one in made)
        finally:
            dist.destroy_process_group()
        gc.collect()
        assert [one() for one in made] == [None, None]


def test_all_hear_what_each_says_and_count_those_of_their_machine(tmp_path):
    assert workers_here() == 1
    spawn(_speak, args=(str(tmp_path),), nprocs=2)
    assert [(tmp_path / f"{rank}").read_text() for rank in range(2)] == ["[0, 10] 2"] * 2


def _speak(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    Path(folder, f"{rank}").write_text(f"{of_all(10 * rank)} {workers_here()}")
    dist.destroy_process_group()
