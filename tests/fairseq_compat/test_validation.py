import json
import logging
import sys

import pytest
from fairseq_cli import validate

from tests.tiny import ROOT, train_command, train_here

# These depend on the time, or fairseq-validate does not know them or sums them.
LEFT_OUT = {"epoch", "valid_wps", "valid_wpb", "valid_bsz", "valid_num_updates", "valid_best_loss"}


@pytest.fixture
def validated(monkeypatch):
    """Return a function that runs fairseq-validate in this process and returns its logged values."""
    rows = []

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "valid":
                rows.append(json.loads(record.getMessage()))

    capture = Capture()
    logging.getLogger().addHandler(capture)
    monkeypatch.setattr(validate, "reset_logging", lambda: None)

    def run(*words: str) -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", ["fairseq-validate", *words])
        validate.cli_main()
        return rows[-1]

    yield run
    logging.getLogger().removeHandler(capture)


@pytest.mark.slow
@pytest.mark.parametrize(
    "criterion", ["crd", "hidden_mse_learn --mapping combine"], ids=lambda words: words.split()[-1]
)
def test_the_numbers_are_those_of_the_last_validation(data, teacher, tmp_path, validated, criterion):
    name, *flags = criterion.split()
    given = ["--teacher", str(teacher), "--criterion", name, *flags, "--init-layers", "0,3"]
    command = train_command(data, tmp_path, *given, "--lr", "1e-2", "--max-update", "3")
    logged = [values for tag, values in train_here(command) if tag == "valid"][-1]

    found = validated(
        *(str(data), "--user-dir", str(ROOT / "fairseq_kd"), "--task", "sentence_prediction_kd"),
        *("--path", str(tmp_path / "checkpoint_last.pt"), "--batch-size", "8", "--num-workers", "0", "--cpu"),
        *("--no-progress-bar", "--log-format", "json"),
    )
    names = set(logged) - LEFT_OUT
    assert len(names) >= 3
    assert {each: float(found[each]) for each in names} == {each: logged[each] for each in names}
