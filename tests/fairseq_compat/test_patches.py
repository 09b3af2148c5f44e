import argparse
import dataclasses
import errno
import os
import pickle
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import data_utils, token_block_dataset
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from fairseq_compat import patches


def test_only_a_namespace_is_allowed_in_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"args": argparse.Namespace(arch="roberta"), "model": {"weight": torch.ones(2)}}, path)
    assert torch.load(path)["args"].arch == "roberta"
    allowed = torch.serialization.get_safe_globals()
    assert {entry for entry in allowed if not entry.__module__.startswith("torch.")} == {argparse.Namespace}


def test_a_checkpoint_that_runs_a_command_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "checkpoint.pt"
    torch.save({"args": Attack(), "model": {}}, path)

    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not (tmp_path / "ran").exists()


def save(path, error: Exception, monkeypatch) -> None:
    """Write a checkpoint, and raise the error after a part of it is written."""

    def fail(obj, file, *args, **kwargs):
        file.write(b"a part")
        raise error

    monkeypatch.setattr("torch.save", fail)
    checkpoint_utils.torch_persistent_save({}, str(path))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_checkpoint_without_disk_space_is_removed(tmp_path):
    import resource

    first, last = tmp_path / "checkpoint1.pt", tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save(torch.zeros(10_000), str(first))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(SystemExit, match="checkpoint_last.pt: File too large: free some space"):
            checkpoint_utils.PathManager.copy(str(first), str(last), overwrite=True)
        with pytest.raises(SystemExit, match="checkpoint2.pt: File too large: free some space"):
            checkpoint_utils.torch_persistent_save(torch.zeros(10_000), str(tmp_path / "checkpoint2.pt"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == [first]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EDQUOT, "free some space"), (errno.EIO, "fix the cause")],
    ids=["quota", "broken disk"],
)
def test_a_checkpoint_that_cannot_be_written_ends_the_run(tmp_path, monkeypatch, number, remedy):
    reason = os.strerror(number)
    with pytest.raises(SystemExit, match=f"Cannot save .*checkpoint2.pt: {reason}: {remedy}"):
        save(tmp_path / "checkpoint2.pt", OSError(number, reason), monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_saving_are_not_changed(tmp_path, monkeypatch):
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError) as found:
        save(tmp_path / "checkpoint2.pt", error, monkeypatch)
    assert found.value is error
    assert list(tmp_path.iterdir()) == []


def test_only_configs_of_fairseq_become_hashable():
    assert FairseqDataclass.__hash__ is object.__hash__
    assert hash(FairseqConfig()) != hash(FairseqConfig())

    @dataclasses.dataclass
    class Plain:
        number: int = 0

    assert Plain.__hash__ is None


def test_only_fairseq_modules_that_need_them_see_the_old_numpy_names():
    assert token_block_dataset.np.compat.long is int
    assert data_utils.np.int is int
    assert data_utils.np.zeros is np.zeros
    assert not hasattr(np, "int")
    assert not hasattr(np, "compat")


def test_a_killed_run_leaves_the_old_or_the_new_checkpoint(tmp_path, monkeypatch):
    new, last = tmp_path / "checkpoint_1_7.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("new checkpoint")
    last.write_text("old checkpoint")

    def half(source, target):
        with open(target, "w") as file:
            file.write("new che")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", half)
        with pytest.raises(KeyboardInterrupt):
            checkpoint_utils.PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "old checkpoint"

    assert checkpoint_utils.PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "new checkpoint"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_1_7.pt", "checkpoint_last.pt"]


def test_the_loop_of_a_scheduler_wraps_training():
    from fairseq_cli import train

    class Loop:
        def validate(self, original, cfg, trainer, *args):
            return original, cfg, args

    trainer = argparse.Namespace(lr_scheduler=argparse.Namespace(loop=Loop()))
    original, cfg, args = train.validate("cfg", trainer, "task", "epoch_itr", ["valid"])
    assert (cfg, args) == ("cfg", ("task", "epoch_itr", ["valid"]))
    assert original.__module__ == "fairseq_cli.train"

    trainer.lr_scheduler = argparse.Namespace()
    with pytest.raises(AttributeError, match="dataset"):  # fairseq's own function
        train.validate(argparse.Namespace(), trainer, "task", "epoch_itr", ["valid"])


def test_ddp_on_a_cpu_is_given_no_device_numbers():
    from fairseq.models import distributed_fairseq_model

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = distributed_fairseq_model.DistributedDataParallel(
            module=torch.nn.Linear(2, 1), device_ids=[0], output_device=0
        )
        assert wrapped.device_ids is None
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("dummy_batches_count", "expected"), [(False, [[], {"id": 1}]), (True, [{"id": 1}, []])]
)
def test_dummy_batches_come_first_if_they_do_not_count(dummy_batches_count, expected):
    class Trainer:
        task = SimpleNamespace(dummy_batches_count=dummy_batches_count)

        def train_step(self, samples, raise_oom=False):
            return samples

    patches.complete_last_updates(SimpleNamespace(Trainer=Trainer))
    assert Trainer().train_step([{"id": 1}, []]) == expected


@pytest.mark.parametrize(
    ("section", "key", "ignored"),
    [
        ("optimization", "max_updates", "optimization.max_updates"),
        ("nosuch", "key", "nosuch"),
        ("optimization", "max_update", None),
        ("criterion", "mapping", None),  # fairseq checks this section itself
    ],
)
def test_a_key_that_hydra_train_would_ignore_ends_it(section, key, ignored):
    from fairseq_cli import hydra_train

    ends = pytest.raises(SystemExit, match=f"Cannot start: fairseq has no {ignored}: ")
    with ends if ignored else nullcontext():
        hydra_train.add_defaults(OmegaConf.create({"common": {"seed": 1}, section: {key: 5}}))
