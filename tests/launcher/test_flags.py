import pytest

from launcher.command import train_command
from launcher.flags import ALWAYS_ON, SET_HERE, check_flags, value_of
from launcher.overrides import SHORT
from launcher.places import Data
from launcher.settings import INSTEAD

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
    command = train_command(spec, "fairseq-train", data, tmp_path, tmp_path, tmp_path, cpu=True)
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
