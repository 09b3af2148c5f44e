"""Groups last as long as torch's own record of them."""

import gc
from datetime import timedelta

import torch.distributed as dist

from fairseq_kd import process_groups
from fairseq_kd.process_groups import host_group


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
