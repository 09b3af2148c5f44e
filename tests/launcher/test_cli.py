"""The command line, grid files and defaults are merged into one GridConfig."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.cli import make_parser, read_arguments
from launcher.config import OPTIONS, GridConfig

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "configs" / "grids").glob("*.yaml"))

FLAGS = [
    *("--task", "mrpc, rte", "--method", "none,kd", "--method", "hidden_mse_learn", "--init", "0, 1, 2", "--init", "all"),
    *("--mapping", "skip,0:0,1:4", "--stage", "one", "--stage", "two_stage", "--seeds", "3", "--seeds", "4"),
    *("--data", "d", "--teacher", "t/{task}", "--out", "o", "--group", "g", "--epochs", "3", "--stage1-epochs", "4"),
    *("--batch-size", "8,16", "--lr", "5e-5,0.0001", "--jobs", "2", "--retries", "0", "--cpu", "--teacher-lr", "1e-4"),
    *("--max-positions", "128", "--", "--clip-norm", "1.0", "--autocast", "bf16", "--fp16"),
]  # fmt: skip

FILE = """
task: [mrpc, RTE]
method: [none, kd, hidden_mse_learn]
init: [[0, 1, 2], all]
mapping: [skip, "0:0,1:4"]
stage: [one, two]
seeds: [3, 4]
data: d
teacher: t/{task}
out: o
group: g
epochs: 3
stage1_epochs: 4
batch-size: [8, 16]
lr: [5e-5, 1.0e-4]
jobs: 2
retries: 0
cpu: true
teacher-lr: 1e-4
max-positions: 128
flags: {optimization.clip_norm: 1.0, autocast: bf16, common.fp16: true, bf16: false}
"""


def read(*arguments: str):
    return read_arguments("", arguments)[0]


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        read_arguments("", arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("Cannot start: ")
    assert error.count("\n") == 1
    return error


def test_a_file_gives_the_same_grid_as_flags(write):
    in_file, in_flags = read(*write(FILE)), read(*FLAGS)
    assert replace(in_file, given=in_flags.given) == in_flags
    assert in_file.given == in_flags.given
    expected = GridConfig(
        task=["MRPC", "RTE"], method=["none", "kd", "hidden_mse_learn"], init=["0,1,2", "all"],
        mapping=["skip", "0:0,1:4"], stage=["one", "two"], seeds=[3, 4], data=Path("d"), teacher="t/{task}", out=Path("o"),
        group="g", epochs=3, stage1_epochs=4, batch_size=[8, 16], lr=[5e-5, 1e-4], jobs=2, retries=0, cpu=True,
        teacher_lr=1e-4, max_positions=128,
    )  # fmt: skip
    assert in_file.config == expected
    assert in_file.overrides == {"--clip-norm": "1.0", "--autocast": "bf16", "--fp16": True}


def test_the_command_line_wins_over_the_file(write):
    more = ["--seeds", "9", "--init", "3,4,5", "--lr", "1e-4", "--", "--clip-norm", "2", "--fp16=false"]
    grid = read(*write(FILE), *more)
    config = grid.config
    assert (config.seeds, config.init, config.lr, config.jobs) == ([9], ["3,4,5"], [1e-4], 2)
    assert list(grid.overrides.items()) == [("--autocast", "bf16"), ("--clip-norm", "2")]


def test_the_parser_has_a_flag_for_each_setting_and_no_other():
    actions = {action.dest: action for action in make_parser(None)._actions}
    assert actions.keys() == OPTIONS.keys() | {"help", "grid", "dry_run"}
    for name, field in OPTIONS.items():
        assert actions[name].help == field.metadata["help"]
        assert f"--{name.replace('_', '-')}" in actions[name].option_strings
    # Defaults in the help are those of the dataclass.
    defaults = {name: getattr(GridConfig(), name) for name in OPTIONS}
    stated = {name: re.search(r"\(default: ([\w./-]+)\)$", action.help) for name, action in actions.items()}
    numbers = {
        name: match[1]
        for name, match in stated.items()
        if match and re.fullmatch(r"[\d.]+|best|runs|glue|data", match[1])
    }
    assert len(numbers) > 6
    assert numbers == {name: str(defaults[name]) for name in numbers}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--grid", "nowhere.yaml"], "--grid nowhere.yaml cannot be read (No such file or directory)"),
        (["--task", "foo/bar"], "--task: 'foo/bar' is not a task: choose among CoLA"),
        (["--method", "cdr"], "--method cdr is not a method: choose among none, a"),
        (["--init", "random"], "--init random takes .* none"),
        (["--init", "random", "--init", "0,1", "--init", "random:6"], "--init random takes .* 2 and 6:"),
        (["--init", "random:0"], "--init: 'random:0' is not a list of layers"),
        (["--mapping", "0:x"], "--mapping: '0:x' is not a mapping: choose among skip, last, combine, combine-layers"),
        (["--mapping", "top"], "--mapping: 'top' is not a mapping"),
        (["--method", "att_kl_learn,lad", "--mapping", "skip,combine"], "--mapping combine .* --method att_kl_learn,lad "),
        (["--stage", "three"], "--stage: 'three' is unknown: choose among one, two"),
        (["--stage2-from", "x"], "--stage2-from: 'x' is unknown: choose among best, last"),
        (["--epo", "1"], "unrecognized arguments: --epo 1"),
        (["--group", "${x}"], "Interpolation key 'x' not found"),
        (["--", "--update-freq", "4,0"], "--update-freq 4,0, which is no number of batches"),
        (["--", "--save-dir", "x", "--encoder-layers", "4"], "contain --save-dir, --encoder-layers, which"),
    ],
)  # fmt: skip
def test_an_error_in_a_command_line_names_the_flag_and_its_value(words, sentence, capsys):
    error = refusal(capsys, "--task", "mrpc", "--method", "kd", *words)
    assert re.search(sentence if ".*" in sentence else re.escape(sentence), error)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_ours_is_valid(path):
    config = read("--grid", str(path)).config
    assert f"python experiments.py --grid configs/grids/{path.name}" in path.read_text()
    if path.stem == "finetune_pretrained":
        defaults = read("--task", "sst2", "-e", "finetune", "--models", "x").config
        assert (config.lr, config.batch_size) == (defaults.lr, defaults.batch_size)
        assert [model.rpartition("@")[2] for model in config.models[2:]] == ["1,3,5", "random:3"]
    if path.stem == "acl2023":
        assert (len(config.task), config.seeds, config.epochs) == (7, [1, 2, 3, 4], 10)
        assert config.batch_size == config.lr == []


@pytest.mark.parametrize(
    ("names", "batch_size", "lr"),
    [
        (("small_init", "small_init_qnli", "small_methods", "small_mrpc"), 16, 5e-5),
        (("small_hsk", "small_one_stage"), 16, 5e-5),  # whose teacher is that of small_methods
        (("alp_kd", "pkd_search_1", "pkd_search_2"), 32, None),
        (("acl2023", "lad_rte", "lad_sst-2"), None, None),
    ],
)
def test_grids_of_a_group_make_the_same_teacher(names, batch_size, lr):
    assert set(names) <= {path.stem for path in GRIDS}
    for name in names:
        config = read("--grid", str(ROOT / "configs" / "grids" / f"{name}.yaml")).config
        assert (config.teacher_batch_size, config.teacher_lr) == (batch_size, lr), name
        assert (config.teacher_epochs, config.teacher) == (10, None), name


def test_help_lists_methods_and_needs_no_environment(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        read("--help")
    text = capsys.readouterr().out
    assert "  pkd-skip  pkd\n" in text
    assert "  last      minilm, minilm_v2, pearson\n" in text

    def unknown() -> None:
        raise ValueError("no plugin")

    monkeypatch.setattr("launcher.cli.find_methods", unknown)
    with pytest.raises(SystemExit) as stopped:
        read("--help")
    assert stopped.value.code == 0
    assert "The methods cannot be listed: no plugin." in capsys.readouterr().out
