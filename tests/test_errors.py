import pytest

from fairseq_kd.errors import CannotStart
from tests.processes import run
from tests.tiny import train_command


def test_one_error_is_one_line_and_several_have_a_line_each():
    assert str(CannotStart("--a is wrong.")) == "Cannot start: --a is wrong."
    error = CannotStart("--a is wrong.", "--b is, too.", doing="export")
    assert str(error) == "Cannot export:\n  --a is wrong.\n  --b is, too."
    assert error.errors == ("--a is wrong.", "--b is, too.")


@pytest.mark.slow
def test_the_command_ends_with_the_sentence_and_a_non_zero_status(data, tmp_path):
    result = run(train_command(data, tmp_path / "run", "--criterion", "kd", "--teacher", "nowhere.pt"))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Cannot start: --teacher nowhere.pt does not exist: give")
    assert "Traceback" not in result.stderr
    assert "begin training" not in result.stdout + result.stderr
