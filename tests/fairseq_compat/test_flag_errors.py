"""A command line that fairseq-train does not take is told in one line."""

import pytest
from fairseq import options

import fairseq_kd  # noqa: F401
from tests.tiny import run, train_command

COMMAND = (
    "data",
    "--task",
    "sentence_prediction_kd",
    "--arch",
    "roberta_student",
    "--optimizer",
    "adamw_fused",
)


def refusal(*flags: str) -> str:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
        options.parse_args_and_arch(options.get_training_parser(), [*COMMAND, *flags])
    assert ended.value.code == 2
    [line] = said.getvalue().splitlines()
    return line.partition(": error: ")[2]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--criterion", "crd", "--mapping", "skip"],
            "unrecognized arguments: --mapping skip: --criterion crd has no --mapping, which att_kl_hidden_mse, "
            "att_kl_learn, att_mse_hidden_mse, att_mse_learn, hidden_mse_learn, hidden_mse_token, ",
        ),
        (
            ["--criterion", "hsk", "--hsk-kep", "1l"],
            "unrecognized arguments: --hsk-kep 1l: give --hsk-keep",
        ),
        (
            ["--criterion", "hsk", "--hsk-kep=1l", "--max-updates", "3"],
            "unrecognized arguments: --hsk-kep=1l --max-updates 3: give --hsk-keep; give --max-update",
        ),
        (
            ["--criterion", "kd", "--tokens-per-sample", "16"],
            "unrecognized arguments: --tokens-per-sample 16: --task sentence_prediction_kd has no --tokens-per-sample, "
            "which masked_lm_kd has: leave it out",
        ),
        (["--criterion", "kd", "--no-such", "3"], "unrecognized arguments: --no-such 3"),
        (["--criterion", "kd", "a", "word"], "unrecognized arguments: a word"),
        (
            ["--criterion", "att_kl_lern"],
            "argument --criterion: invalid choice: 'att_kl_lern': give att_kl_learn",
        ),
        (
            ["--criterion", "nonsense"],
            "argument --criterion: invalid choice: 'nonsense': fairseq_kd has alp_kd, att_kl_hidden_mse, ",
        ),
        (
            ["--arch", "roberta_studnt"],
            "argument --arch: invalid choice: 'roberta_studnt': give roberta_student",
        ),
        (["--task", "masked_lm_dk"], "argument --task: invalid choice: 'masked_lm_dk': give masked_lm_kd"),
        (["--lr-scheduler", "cosin"], "argument --lr-scheduler: invalid choice: 'cosin': give cosine"),
        (["--clip-norm", "much"], "argument --clip-norm: invalid float value: 'much'"),
        (["--criterion"], "argument --criterion: expected one argument"),
    ],
)
def test_a_mistake_is_one_line(flags, sentence):
    told = refusal(*flags)
    assert told.startswith(sentence)
    if not sentence.endswith(", "):
        assert told == sentence


def test_what_is_right_is_taken():
    parsed = options.parse_args_and_arch(
        options.get_training_parser(), [*COMMAND, "--criterion", "hsk", "--hsk-keep", "1l"]
    )
    assert (parsed.criterion, parsed.hsk_keep) == ("hsk", "1l")


@pytest.mark.slow
def test_without_the_plugin_it_is_asked_for(tmp_path):
    command = train_command(tmp_path, tmp_path, "--criterion", "kd")
    at = command.index("--user-dir")
    done = run(command[:at] + command[at + 2 :])
    assert done.returncode == 2
    assert done.stderr == (
        "fairseq-train: error: argument --task: invalid choice: 'sentence_prediction_kd': no plugin is loaded that "
        "has it: give the plugin's folder as the user dir, or sentence_prediction\n"
    )


def test_validation_without_a_task_asks_for_it(capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse_args_and_arch(options.get_validation_parser(), ["data", "--path", "checkpoint.pt"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.partition(": error: ")[2] == (
        "--task is missing: give the one that the checkpoint was trained with\n"
    )
