"""Which training a run goes on with, and what it may not change."""

import shutil

import pytest
import torch

from fairseq_kd.errors import CannotStart
from tests.tiny import build, distil_command, train_here

LAST = "checkpoint_last.pt"
AS_BEGUN = {"optimizer": "adamw_fused", "lr_scheduler": "fixed"}


@pytest.fixture(scope="module")
def begun(data, teacher, tmp_path_factory):
    """Train for one update and return the run directory."""
    folder = tmp_path_factory.mktemp("begun")
    train_here(distil_command(data, folder, teacher, "kd", "--max-update 1"))
    return folder


def resume(data, teacher, begun, criterion="kd", **model):
    return build(data, teacher, criterion, model={"save_dir": str(begun), **AS_BEGUN, **model})


@pytest.mark.slow
def test_a_run_goes_on_from_its_last_checkpoint(data, teacher, begun):
    task, student, _ = resume(data, teacher, begun)
    assert task.initialized == [f"everything: resumed from {begun / LAST}"]
    assert student.shape.layers == 2


@pytest.mark.slow
def test_any_file_is_restored_as_fairseq_finds_it(data, teacher, begun, tmp_path, monkeypatch):
    monkeypatch.chdir(begun)
    for restored in (LAST.replace("last", "best"), str(begun / LAST)):
        shutil.copy(begun / LAST, tmp_path / "checkpoint_best.pt")
        task, _, _ = resume(data, teacher, tmp_path, restore_file=restored)
        assert task.resumed.flag == "--restore-file"
        assert task.resumed.checkpoint.path.resolve() == (begun / restored).resolve()

    task, _, _ = resume(data, teacher, tmp_path, continue_once=str(begun / LAST))
    assert task.resumed.flag == "--continue-once"
    shutil.copy(begun / LAST, tmp_path / "checkpoint_last-a.pt")
    task, _, _ = resume(data, teacher, tmp_path, checkpoint_suffix="-a")
    assert task.resumed.checkpoint.path == tmp_path / "checkpoint_last-a.pt"


def test_a_last_checkpoint_comes_before_one_to_begin_with(data, teacher, begun):
    task, _, _ = resume(data, teacher, begun, continue_once="nowhere.pt")
    assert task.resumed.flag == "--save-dir"


def test_a_bare_name_is_not_looked_for_in_the_folder(data, teacher, begun):
    best = "checkpoint_best.pt"
    with pytest.raises(CannotStart, match=f"--restore-file {best} does not exist.*: give .* {begun / best}"):
        resume(data, teacher, begun, restore_file=best)


@pytest.mark.parametrize("flag", ["--restore-file", "--continue-once"])
def test_a_missing_file_is_an_error(data, teacher, tmp_path, flag):
    with pytest.raises(CannotStart, match=f"{flag} /typo.pt does not exist, .* give"):
        resume(data, teacher, tmp_path, **{flag[2:].replace("-", "_"): "/typo.pt"})


def test_a_model_without_training_is_no_run(data, teacher, tmp_path):
    with pytest.raises(CannotStart, match=r"--restore-file \S+model\.pt has a model but no training state"):
        resume(data, teacher, tmp_path, restore_file=str(teacher))


def test_weights_are_not_loaded_past_the_checks(data, teacher, tmp_path):
    with pytest.raises(CannotStart, match="--finetune-from-model x.pt .*: give --init-from"):
        resume(data, teacher, tmp_path, finetune_from_model="x.pt")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"init_head": True}, "--init-head False, now True"),
        ({"init_layers": "1,2"}, "--init-layers 0,3, now 1,2"),
        ({"encoder_attention_heads": 2}, "--encoder-attention-heads 4, now 2"),
        ({"layernorm_eps": 1e-12}, "--layernorm-eps 1e-05, now 1e-12"),
        ({"activation_fn": "relu"}, "--activation-fn gelu, now relu"),
        ({"_name": "roberta_student_3x384"}, "--encoder-layers 2, now 3"),
        ({"optimizer": "adam"}, "--optimizer adamw_fused, now adam: .*, or --reset-optimizer"),
        ({"lr_scheduler": "time_budget"}, "--lr-scheduler fixed, now time_budget: .*, or --reset-lr-scheduler"),
        ({"bf16": True}, "--bf16 False, now True: .*, or --reset-optimizer"),
    ],
)  # fmt: skip
def test_what_a_run_cannot_change_is_refused(data, teacher, begun, changed, sentence):
    with pytest.raises(CannotStart, match=f"the run in {begun} was started with {sentence}"):
        resume(data, teacher, begun, **changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": "adam", "lr_scheduler": "time_budget", "bf16": True, "reset_optimizer": True},
        {"lr_scheduler": "time_budget", "reset_lr_scheduler": True},
        {"optimizer": None},
        {"dropout": 0.3},
    ],
)
def test_other_settings_may_change(data, teacher, begun, changed):
    task, _, _ = resume(data, teacher, begun, **changed)
    assert task.resumed is not None


@pytest.mark.slow
def test_sizes_that_were_given_may_be_left_out(data, teacher, begun, tmp_path):
    """Heads as wide as they would be anyway are the same model as heads of no given width."""
    state = torch.load(begun / LAST, weights_only=True)
    state["cfg"]["model"]["encoder_head_dim"] = 4
    torch.save(state, tmp_path / LAST)
    for given in (None, 4):
        _, student, _ = resume(data, teacher, tmp_path, encoder_head_dim=given)
        assert student.shape.head_width == 4


@pytest.mark.slow
def test_a_file_of_another_criterion_is_refused(data, teacher, begun, tmp_path):
    path = begun / LAST
    with pytest.raises(CannotStart, match=f"{path} .* --criterion kd, now att_kl_learn: give --init-from"):
        resume(data, teacher, tmp_path, "att_kl_learn", restore_file=str(path))
