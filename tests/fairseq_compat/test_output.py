import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import pytest
from omegaconf import OmegaConf
from torch import nn

from fairseq_compat import output


@pytest.fixture
def files(tmp_path):
    """Yield a command's logger, with a log file and a handler that collects what is printed."""
    from fairseq_cli import train

    class Printed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            printed.append(record.getMessage())

    printed: list[str] = []
    file, screen = logging.FileHandler(tmp_path / "log"), Printed()
    train.logger.addHandler(file)
    logging.getLogger().addHandler(screen)
    yield SimpleNamespace(log=train.logger, printed=printed, written=tmp_path / "log")
    train.logger.removeHandler(file)
    logging.getLogger().removeHandler(screen)


def test_configuration_and_model_go_to_the_log_file(files):
    files.log.setLevel(logging.INFO)
    files.log.info(OmegaConf.create({"task": {"_name": "masked_lm", "data": "bin"}}))
    files.log.info(nn.Linear(2, 1))
    files.log.info("num. expert model params: 0 (num. trained: 0)")
    files.log.info("num. expert model params: 8 (num. trained: 8)")

    assert files.printed == ["num. expert model params: 8 (num. trained: 8)"]
    assert files.written.read_text().splitlines() == [
        "configuration:",
        "task:",
        "  _name: masked_lm",
        "  data: bin",
        "",
        "Linear(in_features=2, out_features=1, bias=True)",
        *files.printed,
    ]


class Trainer:
    """A worker that counts updates."""

    def __init__(self, rank: int = 0) -> None:
        self.is_data_parallel_master = rank == 0

    def train_step(self, samples: list[int]) -> int:
        return len(samples)


def step(trainer: Trainer) -> int:
    module = SimpleNamespace(Trainer=type("Trainer", (Trainer,), {}))
    output.repeat_warnings(module)
    return module.Trainer.train_step(trainer, [1, 2])


def repeated(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fairseq_compat.output"]


@contextmanager
def collecting() -> Iterator[None]:
    """Collect warnings as at the start of a command, and remove the hooks afterwards."""
    make = logging.getLogRecordFactory()
    with (
        warnings.catch_warnings(action="always"),
        mock.patch.object(warnings, "showwarning"),
        mock.patch.object(output, "collector", output.WarningCollector()) as collector,
    ):
        collector.start()
        yield
    logging.setLogRecordFactory(make)


def test_warnings_are_repeated_once_before_the_first_update(caplog):
    with collecting():
        for _ in range(2):
            logging.getLogger("fairseq_kd.tasks").warning("the teacher is of task %s", "RTE")
            logging.getLogger("fairseq_kd.tasks").info("1 sentence")
            warnings.warn("two\n lines", UserWarning, stacklevel=1)

        assert [step(Trainer()), step(Trainer())] == [2, 2]
    assert repeated(caplog) == [
        "Warnings since the start:\n  the teacher is of task RTE\n  UserWarning: two lines"
    ]


def test_other_workers_repeat_nothing(caplog):
    with collecting():
        logging.getLogger("fairseq_kd").warning("of all workers")
        step(Trainer(rank=1))
    assert repeated(caplog) == []


def test_the_warnings_of_each_training_are_collected(caplog):
    from fairseq_cli import train

    with collecting():
        for name in ("first", "second"):
            with pytest.raises(AttributeError):
                train.main(None)  # starts the collection, then fails
            logging.getLogger("fairseq_kd").warning(f"of the {name} training")
            step(Trainer())
    assert repeated(caplog) == [
        f"Warnings since the start:\n  of the {name} training" for name in ("first", "second")
    ]
