"""The sizes of a cache are those of the files that a training then makes."""

import pytest

from fairseq_kd.tasks.cache_sizes import cache_sizes
from tests.tiny import train_command, train_here


@pytest.mark.slow
def test_sizes_are_those_of_the_files_of_a_training(data, teacher, tmp_path):
    flags = ["--teacher", str(teacher), "--criterion", "att_kl_learn", "--init-layers", "0,3"]
    command = train_command(data, tmp_path / "run", *flags)
    found = cache_sizes(command[1:])
    cache = tmp_path / "cache"
    train_here([*command, "--teacher-cache", str(cache)])
    made: dict[str, int] = {}
    for path in [*cache.rglob("*.bin"), *cache.rglob("*.sums")]:
        name = f"{path.parent.name}/{path.name.split('.')[0]}"
        made[name] = made.get(name, 0) + path.stat().st_size
    assert found == made
    assert "train/logits" in made


def test_a_command_that_cannot_start_stores_nothing(data, tmp_path):
    flags = ["--teacher", str(tmp_path / "missing.pt"), "--criterion", "kd"]
    assert cache_sizes(train_command(data, tmp_path / "run", *flags)[1:]) == {}
