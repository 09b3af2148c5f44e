"""Keeps what a user has to read in the output of fairseq's commands from being buried.

fairseq prints its whole configuration as one line of thousands of characters, and the model as a tree. Both go to
`--log-file` and to hydra's log file here, the configuration as YAML; with LOGLEVEL=DEBUG they are printed, too.
Warnings scroll away while data and models are loaded, so they are repeated once before the first update.
"""

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

logger = logging.getLogger(__name__)


@contextmanager
def short_output(module: ModuleType) -> Iterator[None]:
    """Keeps configuration and model of a command out of what it prints."""
    yield
    module.logger.addFilter(_details_to_files)


def _details_to_files(record: logging.LogRecord) -> bool:
    from omegaconf import DictConfig, OmegaConf
    from torch import nn

    if isinstance(record.msg, DictConfig):
        record.msg = f"configuration:\n{OmegaConf.to_yaml(record.msg)}"
    elif not isinstance(record.msg, nn.Module):
        # Models without experts are not described as such.
        return not record.getMessage().startswith("num. expert model params: 0 ")

    source = logging.getLogger(record.name)
    if source.isEnabledFor(logging.DEBUG):
        return True
    for handler in [*source.handlers, *logging.getLogger().handlers]:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
    return False


class _Warnings:
    """The warnings of this process before the first update, in their order, each once."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.collecting = False
        self.hooked = False

    def collect(self) -> None:
        """Collects from now on; sees records when they are made, because hydra and fairseq replace the handlers."""
        self.collecting = True
        if self.hooked:
            return
        self.hooked = True
        make, show = logging.getLogRecordFactory(), warnings.showwarning

        def record_factory(*args, **kwargs) -> logging.LogRecord:
            record = make(*args, **kwargs)
            if record.levelno >= logging.WARNING:
                # Logging itself reports a message that does not fit its arguments.
                with suppress(TypeError, ValueError):
                    self.add(record.getMessage())
            return record

        def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
            self.add(f"{category.__name__}: {message}")
            show(message, category, filename, lineno, file, line)

        logging.setLogRecordFactory(record_factory)
        warnings.showwarning = show_warning

    def add(self, text: str) -> None:
        if self.collecting:
            self.texts[" ".join(text.split())] = None

    def take(self) -> list[str]:
        """Ends the collection and returns it."""
        texts, self.texts, self.collecting = list(self.texts), {}, False
        return texts


_given = _Warnings()


@contextmanager
def collect_warnings(module: ModuleType) -> Iterator[None]:
    """Collects the warnings of a training from the import of its command on."""
    _given.collect()
    yield
    main = module.main

    @functools.wraps(main)
    def collecting(*args, **kwargs):
        _given.collect()
        return main(*args, **kwargs)

    module.main = collecting


@contextmanager
def repeat_warnings(module: ModuleType) -> Iterator[None]:
    """Repeats the collected warnings just before the first update, in the first worker's output."""
    yield
    train_step = module.Trainer.train_step

    @functools.wraps(train_step)
    def step(self, *args, **kwargs):
        texts = _given.take() if _given.collecting else []
        if texts and self.is_data_parallel_master:
            logger.warning("\n  ".join(["Warnings since the start:", *texts]))
        return train_step(self, *args, **kwargs)

    module.Trainer.train_step = step
