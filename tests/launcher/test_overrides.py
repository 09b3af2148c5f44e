"""Flags after `--`: hydra's names, and flags that the launcher sets itself."""

import argparse

import pytest

from launcher.cli import INSTEAD
from launcher.datasets import Data
from launcher.execution.command import train_command
from launcher.overrides import ALWAYS_ON, CHOICES, GROUPS, SET_HERE, SHORT, as_flags, check_flags, value_of
from launcher.planning.job import Job


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["optimization.clip_norm=1.0"], ["--clip-norm", "1.0"]),
        (["+dataset.num_workers=2", "++task.autocast=bf16"], ["--num-workers", "2", "--autocast", "bf16"]),
        (["common.fp16=true", "common.bf16=False"], ["--fp16"]),
        (["optimizer.adam_betas='(0.9,0.98)'"], ["--adam-betas", "(0.9,0.98)"]),
        (["optimizer.adam_betas=(0.9, 0.98)"], ["--adam-betas", "(0.9, 0.98)"]),
        (["optimization.update_freq=[1, 2]"], ["--update-freq", "1,2"]),
        (["optimization.lr=[1e-5]"], ["--lr", "1e-5"]),
        (["model.init_layers='0,1,2'"], ["--init-layers", "0,1,2"]),
        (["optimizer=adam", "lr_scheduler._name=fixed"], ["--optimizer", "adam", "--lr-scheduler", "fixed"]),
        (["model._name=roberta_student"], ["--arch", "roberta_student"]),
        (["common.tensorboard_logdir='true'"], ["--tensorboard-logdir", "true"]),
        (["--fp16", "optimization.clip_norm=1", "--patience", "2"], ["--fp16", "--clip-norm", "1", "--patience", "2"]),
        (["--model-overrides", "a=b"], ["--model-overrides", "a=b"]),
        (["--clip-norm=1.0"], ["--clip-norm=1.0"]),
        (["--fp16", "--patience", "2", "common.fp16=false"], ["--patience", "2"]),
        (["--fp16=False", "common.fp16=true"], ["--fp16"]),
        (["--clip-norm", "1", "-a", "roberta_student_6x768"], ["--clip-norm", "1", "--arch", "roberta_student_6x768"]),
    ],
)  # fmt: skip
def test_an_override_is_the_flag_of_the_same_meaning(words, flags):
    assert as_flags(words) == flags


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optimisation.clip_norm=1", "optimisation.clip_norm=1 names no group of .*: choose among bmuf, checkpoint, "),
        ("generation.beam=5", "generation.beam=5 names no group"),
        ("common=x", "common=x names no option of common: write common.KEY=VALUE"),
        ("optimization.clip_norm=", "gives optimization.clip_norm no value: leave it out"),
        ("optimization.clip_norm=null", "gives optimization.clip_norm no value"),
        ("~optimization.clip_norm", "takes an option away"),
        ("checkpoint.no_epoch_checkpoints=false", "switch off --no-epoch-checkpoints, which this program needs: leave"),
        ("--no-progress-bar=false", "switch off --no-progress-bar, which"),
    ],
)  # fmt: skip
def test_what_is_no_flag_is_quoted(word, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_flags([word])


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


OPTIONS = {"--save-dir": "--out", "--seed": "--seeds", "--mapping": "--mapping"}


@pytest.mark.parametrize("flags", [[], ["--patience", "2"], ["--bf16", "--lr-scheduler", "fixed"]])
def test_other_flags_pass(flags):
    check_flags(flags, OPTIONS)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--save-dir", "x"],
            "the flags after -- name --save-dir, which this program sets: use --out for --save-dir",
        ),
        (["--bf16", "--seed=3"], "name --seed, which this program sets: use --seeds for --seed"),
        (["--mapping", "last"], "name --mapping, which this program sets: give --mapping before --"),
        (
            ["--validate-interval-updates", "50", "--reset-meters"],
            "use --save-interval-updates for --validate-interval-updates, leave out --reset-meters",
        ),
        (["--save-async"], "leave out --save-async"),
        (["--combine-val"], "leave out --combine-val"),
        (["--no-save", "--seed", "1"], "--no-save, --seed, .*: leave out --no-save, use --seeds for --seed"),
    ],
)
def test_flags_that_are_set_already_are_refused_by_name(flags, sentence):
    with pytest.raises(ValueError, match=f"{sentence}$"):
        check_flags(flags, OPTIONS)


# What a run's command sets, and a user may still set otherwise.
FREE = set(
    "--arch --optimizer --adam-betas --adam-eps --weight-decay --clip-norm --dropout --attention-dropout "
    "--lr-scheduler --warmup-updates --total-num-update --hard-weight --soft-weight "
    "--init-from --no-epoch-checkpoints --no-progress-bar".split()
)


def test_whatever_a_command_sets_is_refused_or_free_to_change(spec, tmp_path):
    data = Data(tmp_path, 3668, "accuracy", ("valid",), "d")
    command = train_command(Job(spec, tmp_path, data, "fairseq-train", True, tmp_path, tmp_path))
    given = {word for word in command if word.startswith("--")}
    assert given <= SET_HERE | FREE | set(INSTEAD)
    assert given >= ALWAYS_ON


def test_no_other_name_of_a_flag_passes():
    from fairseq import options

    actions = options.get_training_parser()._actions
    own = SET_HERE | set(INSTEAD)
    several = [set(action.option_strings) for action in actions if len(action.option_strings) > 1]
    assert len(several) > 3
    for names in several:
        assert names <= own or not names & own
    assert all({short, flag} in several for short, flag in SHORT.items())


def test_what_is_given_last_holds():
    flags = ("--lr", "1", "--bf16", "--lr=2", "--soft-weight=0.5")
    assert [value_of(name, flags) for name in ("--lr", "--bf16", "--soft-weight", "--no")] == [
        "2",
        None,
        "0.5",
        None,
    ]
