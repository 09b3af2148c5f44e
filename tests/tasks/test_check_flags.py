"""The errors of fairseq-train for invalid command lines."""

import pytest

from fairseq_kd.tasks.check_flags import refusal

COMMAND = ("data", "--task", "sentence_prediction_kd", "--arch", "roberta_student", "--criterion", "hsk")


@pytest.mark.slow
def test_flags_that_fairseq_and_the_criterion_have_are_taken():
    assert refusal([*COMMAND, "--clip-norm", "1.0", "--hsk-keep", "1l"]) == ""


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--inter-wieght", "2"), "unrecognized arguments: --inter-wieght 2)"),
        (("--clip-norm", "much"), "argument --clip-norm: invalid float value: 'much'"),
        (("--lr-scheduler", "cosin"), "argument --lr-scheduler: invalid choice: 'cosin' (choose from "),
        (("a", "word"), "unrecognized arguments: a word"),
    ],
)
def test_other_flags_are_refused(flags, reason):
    error = refusal([*COMMAND, *flags])
    assert error.startswith(f"fairseq-train does not take this command line ({reason}")
    assert error.endswith("): correct the flags after --.")
