"""Task, student and criterion of a command line, and errors of shapes that cannot be trained with it."""

from dataclasses import replace

import pytest
from fairseq.dataclass.utils import merge_with_parent

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.roberta_student import RobertaStudentConfig
from fairseq_kd.tasks.build import build_parts, config_errors, read_config
from tests.tiny import SHAPE, build, distil_command, train_command


def test_parts_are_those_of_the_command_line(data, teacher, tmp_path):
    cfg = read_config(distil_command(data, tmp_path, teacher, "hidden_mse_learn", "--mapping last")[1:])
    _, student, criterion = build_parts(cfg)
    _, same, _ = build(data, teacher, "hidden_mse_learn", mapping="last")
    assert student.shape == same.shape
    assert criterion.hidden.pairs == [(2, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw_fused"])
def test_the_config_has_the_names_of_optimizer_and_scheduler(data, tmp_path, optimizer):
    """Also of optimizers whose configs are no dataclasses."""
    command = train_command(data, tmp_path, f"--criterion kd --init-layers 0,3 --optimizer {optimizer}")
    cfg = merge_with_parent(RobertaStudentConfig(), read_config(command[1:]).model)
    assert (cfg.optimizer, cfg.lr_scheduler) == (optimizer, "fixed")


def test_a_model_that_is_no_student_is_refused(data, tmp_path):
    command = train_command(data, tmp_path, "--criterion kd --arch roberta_base")
    with pytest.raises(CannotStart, match="--arch roberta_base .* give --arch roberta_student"):
        build_parts(read_config(command[1:]))


def test_a_shape_is_checked_without_a_student(data, teacher, tmp_path):
    cfg = read_config(distil_command(data, tmp_path, teacher, "att_kl_learn", "--mapping 2:4")[1:])
    assert config_errors(cfg, replace(SHAPE, layers=2)) == []
    for shape, found in (
        (replace(SHAPE, layers=1), "student state 2"),
        (replace(SHAPE, heads=2), "has 2 heads"),
    ):
        [error] = config_errors(cfg, shape)
        assert found in error
