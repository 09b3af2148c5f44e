"""Makes fairseq-validate use the trained criterion: fairseq builds a new one on the CPU, with untrained parameters."""

from types import SimpleNamespace
from typing import Any

from .wrap import wrap


def trained_criterion(module: Any) -> None:
    """Load the criterion's state with the model's, and move the criterion to the model's device."""
    import torch

    utils = module.checkpoint_utils

    def load_model_ensemble_and_task(filenames: list[str], arg_overrides=None, suffix: str = ""):
        path = utils.get_maybe_sharded_checkpoint_filename(filenames[0], suffix, 0, 1)
        state = utils.load_checkpoint_to_cpu(path, arg_overrides)
        trained = state.get("criterion")
        models, cfg, task = utils.load_model_ensemble_and_task(
            filenames, arg_overrides=arg_overrides, suffix=suffix, state=state
        )

        @wrap(task, "build_criterion")
        def build_trained(original, *args, **kwargs):
            criterion = original(*args, **kwargs)
            if trained:
                criterion.load_state_dict(trained)
            example = next(models[0].parameters())
            if example.dtype == torch.float16:
                criterion.half()
            return criterion.to(example.device)

        return models, cfg, task

    module.checkpoint_utils = SimpleNamespace(load_model_ensemble_and_task=load_model_ensemble_and_task)
