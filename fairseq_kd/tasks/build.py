"""Builds task, student and criterion from the flags of fairseq-train, without training."""

import contextlib
import io
from collections.abc import Sequence

from fairseq import criterions, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

from ..errors import CannotStart
from ..models.shape import ModelShape
from ..teachers.source import TeacherSource


def read_config(flags: Sequence[str]) -> DictConfig:
    """Return fairseq-train's config for these flags. Raises CannotStart if fairseq-train refuses one."""
    parser, errors = options.get_training_parser(), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(flags)))
    except SystemExit as exit:
        if not exit.code:  # --help
            raise
        _, _, reason = errors.getvalue().strip().partition(": error: ")
        raise CannotStart(
            f"fairseq-train does not take this command line ({reason}): correct the flags after --."
        ) from None


def build_parts(cfg: DictConfig) -> tuple:
    """Return task, student and criterion as fairseq-train builds them. Raises CannotStart if one cannot be built."""
    utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    student = task.build_model(cfg.model)
    return task, student, task.build_criterion(cfg.criterion)


def config_errors(cfg: DictConfig, student: ModelShape) -> list[str]:
    """Return an error message for each reason why no student of this shape can be trained with this config.

    The student is not built. Raises CannotStart for reasons other than the shape.
    """
    task = tasks.setup_task(cfg.task)
    task.source = TeacherSource.read(task.cfg, task.data)
    task.context = task.new_context(student)
    return criterions.build_criterion(cfg.criterion, task).errors
