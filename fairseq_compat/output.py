"""Shortens the output of fairseq's commands, so that users see the important lines.

fairseq prints its configuration as one line of thousands of characters, and the model as a tree. With this module, both
are written only to `--log-file` and hydra's log file, the configuration as YAML. With LOGLEVEL=DEBUG they are also
printed. Warnings scroll away while data and models are loaded, so they are repeated once before the first update.
"""

import logging
import warnings
from contextlib import suppress
from types import ModuleType

from .wrap import wrap

logger = logging.getLogger(__name__)


def short_output(module: ModuleType) -> None:
    """Do not print the configuration and the model of a command."""
    module.logger.addFilter(_details_to_files)


def _details_to_files(record: logging.LogRecord) -> bool:
    from omegaconf import DictConfig, OmegaConf
    from torch import nn

    if isinstance(record.msg, DictConfig):
        record.msg = f"configuration:\n{OmegaConf.to_yaml(record.msg)}"
    elif not isinstance(record.msg, nn.Module):
        # fairseq also counts the expert parameters of models without experts.
        return not record.getMessage().startswith("num. expert model params: 0 ")

    source = logging.getLogger(record.name)
    if source.isEnabledFor(logging.DEBUG):
        return True
    for handler in [*source.handlers, *logging.getLogger().handlers]:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
    return False


class WarningCollector:
    """Collects the warnings of this process before the first update, in order, without duplicates."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.collecting = False
        self.hooked = False

    def start(self) -> None:
        """Start to collect. Wraps the log record factory, because hydra and fairseq replace the handlers."""
        self.collecting = True
        if self.hooked:
            return
        self.hooked = True
        make, show = logging.getLogRecordFactory(), warnings.showwarning

        def record_factory(*args, **kwargs) -> logging.LogRecord:
            record = make(*args, **kwargs)
            if record.levelno >= logging.WARNING:
                # logging itself reports a message that does not fit its arguments.
                with suppress(TypeError, ValueError):
                    self.add(record.getMessage())
            return record

        def show_warning(message, category, *args, **kwargs) -> None:
            self.add(f"{category.__name__}: {message}")
            show(message, category, *args, **kwargs)

        logging.setLogRecordFactory(record_factory)
        warnings.showwarning = show_warning

    def add(self, text: str) -> None:
        """Add a warning, on one line."""
        if self.collecting:
            self.texts[" ".join(text.split())] = None

    def take(self) -> list[str]:
        """Stop and return the warnings."""
        texts, self.texts, self.collecting = list(self.texts), {}, False
        return texts


collector = WarningCollector()


def collect_warnings(module: ModuleType) -> None:
    """Collect the warnings of a training."""
    collector.start()

    @wrap(module, "main")
    def collecting(original, *args, **kwargs):
        collector.start()
        return original(*args, **kwargs)


def repeat_warnings(module: ModuleType) -> None:
    """Repeat the collected warnings just before the first update, on the first worker."""

    @wrap(module.Trainer, "train_step")
    def step(original, self, *args, **kwargs):
        texts = collector.take() if collector.collecting else []
        if texts and self.is_data_parallel_master:
            logger.warning("\n  ".join(["Warnings since the start:", *texts]))
        return original(self, *args, **kwargs)
