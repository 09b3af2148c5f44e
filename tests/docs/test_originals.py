"""Every row of docs/originals.md names flags that its program takes, with the values that it gives."""

import importlib
import re
import shlex
from functools import cache

import pytest
from fairseq import options

import fairseq_kd  # noqa: F401
from fairseq_kd.criterions.transfer.compressed import CompressionSpec
from fairseq_kd.layers import layer_map
from launcher.cli import make_parser
from tests.tiny import ROOT

PAGE = (ROOT / "docs" / "originals.md").read_text()

# What fairseq-train needs beside the flags of a row.
TRAIN = "data --arch roberta_student --optimizer adamw_fused"
TASK = "--task sentence_prediction_kd --lr-scheduler polynomial_decay --total-num-update 9"

# The parser of each other program, and what it requires beside the flags of a row.
PROGRAMS = {
    "experiments.py": (lambda: make_parser(None), ""),
    "preprocess.glue": (lambda: _parser_of("preprocess.glue"), "--glue-dir g --encoder-dir e --out o"),
    "preprocess.corpus": (lambda: _parser_of("preprocess.corpus.__main__"), "--out o"),
}
for script in "evaluate finetune_teacher predict prune prune_and_distil score_importance".split():
    PROGRAMS[f"scripts/{script}.py"] = (lambda script=script: _parser_of(f"scripts.{script}"), "")

# What the originals' users will look for.
ASKED = (
    "save_steps logging_steps total_step accum_step dropout overwrite_output_dir kd_K distillation_type keep_layers "
    "layer_scheme t_top10 token_scheme left_first gate_indices student_indices alpha beta total_training_time "
    "early_exit_time_marker finetune_time_markers finetune_checkpoint_at_end lr_schedule curve warmup_proportion decay_rate "
    "decay_step early_stop_time early_stop_eval_loss validation_epochs validation_epochs_begin validation_epochs_end "
    "frac_test num_train_shards num_test_shards dup_factor short_seq_prob max_predictions_per_seq encoder_ln_mode "
    "layernorm_embedding aug student_initialize layer_selection method"
).split()


def _parser_of(module: str):
    return importlib.import_module(module)._parser()


def rows() -> list[tuple[str, str, str, str]]:
    """Return (flags of the section, original, flags here, program) of every row."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        beside = re.search(r"^With `([^`]+)`", section, flags=re.M)[1]
        for line in section.splitlines():
            if line.startswith("| ") and not line.startswith("| original"):
                original, here, program, _ = (cell.strip() for cell in line.strip("|").split("|"))
                found.append((beside, original, here.strip("`"), program))
    return found


ROWS = rows()


@cache
def actions(beside: str) -> dict:
    """Return the flags of fairseq-train with these arguments. Raises SystemExit if it rejects them."""
    parser = options.get_training_parser()
    options.parse_args_and_arch(parser, shlex.split(f"{TRAIN} {TASK} {beside}"))
    return parser._option_string_actions


def check_train(beside: str, words: list[str]) -> None:
    """Parse the values as fairseq-train does. Raises the parser's errors, and KeyError for an unknown flag."""
    named = [word for word in words if word.startswith("--")]
    chosen = [f"{flag} {words[words.index(flag) + 1]}" for flag in ("--criterion", "--task") if flag in named]
    known = actions(" ".join([beside, *chosen]))
    parser = options.get_training_parser()
    for flag in named:
        action = known[flag]  # by its full name, so that no abbreviation passes
        values = words[words.index(flag) + 1 :]
        values = values[: next((n for n, word in enumerate(values) if word.startswith("--")), len(values))]
        assert len(values) == (0 if action.nargs == 0 else 1), flag
        for value in values:
            parser._check_value(action, parser._get_value(action, value))
        if flag == "--mapping":
            assert layer_map(values[0], 6, 12)
        if flag == "--hsk-keep":
            assert CompressionSpec.parse(values[0])


@pytest.mark.parametrize(("beside", "original", "here", "program"), ROWS, ids=lambda text: text[:40])
def test_a_row_names_flags_that_exist(beside, original, here, program):
    if here == "-":
        assert program == ""
        return
    words = shlex.split(here)
    if program == "fairseq-train":
        check_train(beside, words)
        return
    build, required = PROGRAMS[program]
    read = vars(build().parse_args([*shlex.split(required), *words]))
    assert read


def test_a_row_with_a_flag_or_a_value_that_does_not_exist_is_found():
    for words in (["--no-such", "1"], ["--lad-for", "no"]):
        with pytest.raises(KeyError):
            check_train("--criterion lad", words)
    with pytest.raises(Exception, match="invalid choice"):
        check_train("--criterion lad", ["--lad-form", "sideways"])


def test_flags_that_users_look_for_are_listed():
    originals = " ".join(original for _, original, _, _ in ROWS)
    assert [flag for flag in ASKED if not re.search(rf"\b{flag}\b", originals)] == []


def test_the_weight_of_lads_pkd_is_that_of_a_mean_over_six_layers():
    [here] = [here for _, original, here, _ in ROWS if "run_pkd_distill.py --mu 100" in original]
    words = shlex.split(here)
    pairs = words[words.index("--mapping") + 1].count(":")
    assert float(words[words.index("--inter-weight") + 1]) == pytest.approx(100 / pairs, abs=0.005)
