"""The parts of a training, from the flags of fairseq-train, for programs that train nothing."""

from collections.abc import Sequence

from fairseq import options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig


def read_config(flags: Sequence[str]) -> DictConfig:
    """What fairseq-train makes of these words; ends the program, as it does, at one that it does not know."""
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(flags)))


def build_parts(cfg: DictConfig) -> tuple:
    """Task, student and criterion, as fairseq-train builds them. Raises CannotStart as they do."""
    utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    student = task.build_model(cfg.model)
    return task, student, task.build_criterion(cfg.criterion)
