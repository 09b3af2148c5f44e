"""Makes fairseq-validate use the trained criterion, and ask for a missing `--task`.

fairseq builds a new criterion, on the CPU, with untrained parameters. Without `--task` it ends with a `KeyError`.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import torch


@contextmanager
def trained_criterion(module: ModuleType) -> Iterator[None]:
    """Loads the criterion's state with the model's, and puts the criterion where the model is."""
    yield
    utils = module.checkpoint_utils

    def load_model_ensemble_and_task(filenames: list[str], arg_overrides=None, suffix: str = ""):
        path = utils.get_maybe_sharded_checkpoint_filename(filenames[0], suffix, 0, 1)
        state = utils.load_checkpoint_to_cpu(path, arg_overrides)
        trained = state.get("criterion")
        models, cfg, task = utils.load_model_ensemble_and_task(
            filenames, arg_overrides=arg_overrides, suffix=suffix, state=state
        )
        build_criterion = task.build_criterion

        def build_trained(*args, **kwargs):
            criterion = build_criterion(*args, **kwargs)
            if trained:
                criterion.load_state_dict(trained)
            example = next(models[0].parameters())
            if example.dtype == torch.float16:
                criterion.half()
            return criterion.to(example.device)

        task.build_criterion = build_trained
        return models, cfg, task

    module.checkpoint_utils = SimpleNamespace(load_model_ensemble_and_task=load_model_ensemble_and_task)


@contextmanager
def required_task(module: ModuleType) -> Iterator[None]:
    """Makes `--task` required, for which fairseq has no default here."""
    yield
    get_validation_parser = module.options.get_validation_parser

    @functools.wraps(get_validation_parser)
    def requiring_task(*args, **kwargs):
        parser = get_validation_parser(*args, **kwargs)
        parser.usage = "%(prog)s DATA --task TASK --path CHECKPOINT [options]"
        next(action for action in parser._actions if action.dest == "task").required = True
        return parser

    module.options.get_validation_parser = requiring_task
