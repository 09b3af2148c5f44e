"""Flags after `--`: words and hydra's names become one mapping; flags that the launcher sets itself are refused."""

import argparse

import pytest

from launcher.cli import SET_BY_OPTIONS
from launcher.datasets import Data
from launcher.execution.command import train_flags
from launcher.overrides import (
    ALWAYS_ON,
    CHOICES,
    GROUPS,
    SET_HERE,
    SHORT,
    as_words,
    check_overrides,
    is_zero,
    merge_overrides,
    read_mapping,
    read_overrides,
)
from launcher.planning.job import Job


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        (["optimization.clip_norm=1.0"], {"--clip-norm": "1.0"}),
        (["+dataset.num_workers=2", "++task.autocast=bf16"], {"--num-workers": "2", "--autocast": "bf16"}),
        (["common.fp16=true", "common.bf16=False"], {"--fp16": True, "--bf16": False}),
        (["optimizer.adam_betas='(0.9,0.98)'"], {"--adam-betas": "(0.9,0.98)"}),
        (["optimizer.adam_betas=(0.9, 0.98)"], {"--adam-betas": "(0.9, 0.98)"}),
        (["optimization.update_freq=[1, 2]"], {"--update-freq": "1,2"}),
        (["model.init_layers='0,1,2'"], {"--init-layers": "0,1,2"}),
        (["optimizer=adam", "lr_scheduler._name=fixed"], {"--optimizer": "adam", "--lr-scheduler": "fixed"}),
        (["model._name=roberta_student"], {"--arch": "roberta_student"}),
        (["common.tensorboard_logdir='true'"], {"--tensorboard-logdir": "true"}),
        (["--fp16", "optimization.clip_norm=1", "--patience", "2"], {"--fp16": True, "--clip-norm": "1", "--patience": "2"}),
        (["--model-overrides", "a=b"], {"--model-overrides": "a=b"}),
        (["--clip-norm=1.0"], {"--clip-norm": "1.0"}),
        (["--fp16", "--patience", "2", "common.fp16=false"], {"--patience": "2", "--fp16": False}),
        (["--fp16=False", "common.fp16=true"], {"--fp16": True}),
        (["-a", "roberta_student_6x768"], {"--arch": "roberta_student_6x768"}),
        (["--lr", "1", "--bf16", "--lr", "-2"], {"--bf16": True, "--lr": "-2"}),
        (["--list", "a", "b", "c", "--bf16"], {"--list": ("a", "b", "c"), "--bf16": True}),
    ],
)  # fmt: skip
def test_words_become_flags_and_values(words, overrides):
    found = read_overrides(words)
    assert list(found.items()) == list(overrides.items())
    on = {flag: value for flag, value in found.items() if value is not False}
    assert read_overrides(as_words(on)) == on


def test_a_mapping_gives_the_same_as_words():
    given = {
        "optimization.clip_norm": 1.0,
        "autocast": "bf16",
        "common.fp16": True,
        "bf16": False,
        "update_freq": [2, 1],
    }
    words = ["--clip-norm", "1.0", "--autocast", "bf16", "--fp16", "--bf16=false", "--update-freq", "2,1"]
    assert list(read_mapping(given).items()) == list(read_overrides(words).items())
    assert read_mapping(["--clip-norm", 1.0]) == {"--clip-norm": "1.0"}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optimisation.clip_norm=1", "optimisation.clip_norm=1 .*: choose among bmuf, checkpoint, "),
        ("common=x", "common=x .* common.KEY=VALUE"),
        ("optimization.clip_norm=", "optimization.clip_norm no value"),
        ("optimization.clip_norm=null", "optimization.clip_norm no value"),
        ("~optimization.clip_norm", "~optimization.clip_norm removes"),
        ("word", "word, which follows no flag"),
    ],
)
def test_an_invalid_word_is_quoted(word, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_overrides([word])


def test_the_winning_overrides_replace_values_and_switch_off():
    given = {"--fp16": True, "--lr": "1", "--a": "b"}
    winning = read_overrides(["--lr", "2", "--fp16=false"])
    assert list(merge_overrides(given, winning).items()) == [("--a", "b"), ("--lr", "2")]
    with pytest.raises(ValueError, match="switch off --no-progress-bar"):
        merge_overrides({}, {"--no-progress-bar": False})


def test_every_option_of_fairseq_is_reached():
    """Each key of each group is a flag of fairseq-train, switches are off by default, choices are flags too."""
    from fairseq import options
    from fairseq.dataclass.configs import FairseqConfig

    parser = options.get_training_parser()
    actions = {option: action for action in parser._actions for option in action.option_strings}
    assert set(CHOICES.values()) <= set(actions)
    for group in GROUPS - set(CHOICES):
        for key, field in FairseqConfig.__dataclass_fields__[group].type.__dataclass_fields__.items():
            flag = f"--{key.replace('_', '-')}"
            if key == "_name" or flag not in actions:
                assert key == "_name" or group == "bmuf", key  # its optimizer is not in this parser
                continue
            assert not isinstance(actions[flag], argparse._StoreFalseAction), key
            assert field.default is not True, key

    # No second name of a flag that the launcher sets is free.
    own = SET_HERE | set(SET_BY_OPTIONS)
    several = [set(action.option_strings) for action in parser._actions if len(action.option_strings) > 1]
    assert len(several) > 3
    for names in several:
        assert names <= own or not names & own
    assert all({short, flag} in several for short, flag in SHORT.items())


@pytest.mark.parametrize(
    ("words", "found", "remedy"),
    [
        ("--bf16 --seed=3 --reset-meters", "--seed, --reset-meters", "give --seeds before --"),
        ("--init-layers 0 --encoder-layers 2 --lr 1", "--init-layers, --encoder-layers, --lr", "--init, --lr before"),
        ("--criterion kd --max-epoch 2 --save-dir x", "--criterion, --max-epoch", "--method, --epochs, --out before"),
        ("--teacher-cache c", "--teacher-cache", "--teacher-cache before"),
        ("--reset-meters", "--reset-meters", "remove them$"),
    ],
)  # fmt: skip
def test_a_flag_that_the_program_sets_is_refused_with_the_programs_own_flag(words, found, remedy):
    with pytest.raises(ValueError, match=f"contain {found}.*{remedy}"):
        check_overrides(read_overrides(words.split()), SET_BY_OPTIONS)


def test_other_flags_are_free():
    check_overrides({"--patience": "2", "--bf16": True}, SET_BY_OPTIONS)


# Set by a run's command, and the user may still set them otherwise.
FREE = set(
    "--arch --optimizer --adam-betas --adam-eps --weight-decay --clip-norm --dropout --attention-dropout "
    "--lr-scheduler --warmup-updates --total-num-update --hard-weight --soft-weight "
    "--init-from --no-epoch-checkpoints --no-progress-bar".split()
)


def test_each_flag_of_a_command_is_refused_or_free_to_change(spec, tmp_path):
    data = Data(tmp_path, 3668, "accuracy", ("valid",), "d")
    given = set(train_flags(Job(spec, tmp_path, data, "fairseq-train", True, tmp_path, tmp_path)))
    assert given <= SET_HERE | FREE | set(SET_BY_OPTIONS)
    assert given >= ALWAYS_ON


def test_only_the_number_0_is_zero():
    assert [is_zero(value) for value in ("0", "0.0", "0.5", "x", True, None)] == [True, True] + [False] * 4
