"""The parts of a training, from the flags of fairseq-train, for programs that train nothing."""

import contextlib
import io
from collections.abc import Sequence

from fairseq import criterions, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

from ..errors import CannotStart
from ..models.shape import ModelShape


def read_config(flags: Sequence[str]) -> DictConfig:
    """What fairseq-train makes of these words. Raises CannotStart where it does not know one of them."""
    parser, said = options.get_training_parser(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(flags)))
    except SystemExit as ended:
        if not ended.code:  # --help
            raise
        _, _, reason = said.getvalue().strip().partition(": error: ")
        raise CannotStart(
            f"fairseq-train does not take this command line ({reason}): correct the flags after --."
        ) from None


def build_parts(cfg: DictConfig) -> tuple:
    """Task, student and criterion, as fairseq-train builds them. Raises CannotStart as they do."""
    utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    student = task.build_model(cfg.model)
    return task, student, task.build_criterion(cfg.criterion)


def problems_of(cfg: DictConfig, student: ModelShape) -> list[str]:
    """Why no student of that shape can be trained so, which is not built for it: one sentence each.

    Raises CannotStart where it is not for the shape.
    """
    task = tasks.setup_task(cfg.task)
    task.student, task.student_shape = None, student
    return criterions.build_criterion(cfg.criterion, task).problems
