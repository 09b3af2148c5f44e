import argparse

import pytest

from launcher.overrides import CHOICES, GROUPS, as_flags


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
