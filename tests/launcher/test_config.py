"""Flags, grid files and defaults are merged into one GridConfig."""

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


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a grid file, and returns the arguments that name it."""

    def write(text: str) -> list[str]:
        (tmp_path / "grid.yaml").write_text(text)
        return ["--grid", str(tmp_path / "grid.yaml")]

    return write


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
    told = {name: re.search(r"\(default: ([\w./-]+)\)$", action.help) for name, action in actions.items()}
    numbers = {
        name: match[1]
        for name, match in told.items()
        if match and re.fullmatch(r"[\d.]+|best|runs|glue|data", match[1])
    }
    assert len(numbers) > 6
    assert numbers == {name: str(defaults[name]) for name in numbers}


@pytest.mark.parametrize(
    ("given", "inits"),
    [
        ("[0, 1, 2]", ["0,1,2"]),
        ("0,1,2", ["0,1,2"]),
        ('["0,1,2", "all", [3]]', ["0,1,2", "all", "3"]),
        ("3", ["3"]),
        ("random:3", ["random:3"]),
        ("[random, [0, 1, 2]]", ["random:3", "0,1,2"]),
        ('["0,4,8,11", all, random]', ["0,4,8,11", "all", "random:4"]),
        ("[random:3, random]", ["random:3"]),
    ],
)
def test_inits_are_lists_of_layers_and_random_is_as_deep_as_the_others(write, given, inits):
    assert read(*write(f"task: mrpc\nmethod: kd\ninit: {given}")).config.init == inits


@pytest.mark.parametrize("models", ["{a: x, b: y@random:3}", "[a=x, b=y@random:3]"])
def test_models_are_paths_or_a_mapping_of_names_to_paths(write, models):
    grid = read(*write(f"task: mrpc\nexperiment: finetune\nmodels: {models}"))
    assert grid.models == read("--task", "mrpc", "-e", "finetune", "--models", "a=x", "b=y@random:3").models
    assert [(entry.name, entry.path, entry.layers) for entry in grid.models] == [
        ("a", "x", "all"), ("b", "y", "random:3")
    ]  # fmt: skip


def test_mapping_names_of_liu_et_al_are_understood():
    grid = read("--task", "mrpc", "--method", "hsk", "--mapping", "t_top10,top10,t_top8")
    assert grid.config.mapping == ["top10", "top8"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("methods: kd", ": methods is not a setting"),
        ("dry-run: true", ": dry-run is not a setting"),
        ("grid: other.yaml", ": grid is not a setting"),
        ("task: foo bar", ": task: 'foo bar' is not a task"),
        ("epochs: 0", ": epochs: '0' is not a whole number from 1"),
        ("epochs: [1, 2]", ": epochs: '[1, 2]' is not a whole number"),
        ("cpu: perhaps", ": cpu: Value 'perhaps'"),
        ("seeds: [true]", ": seeds: 'True' is not a whole number"),
        ("task: []", ": task: is an empty list"),
        ("init: [[a]]", ": init: ['a'] is not a list of layers"),
        ("mapping: 1:4", ": mapping: 64 is not text: put pairs such as 1:4 in quotes"),
        ("lr: [1e-5, 2]", ": lr: '2' is not a learning rate"),
        ("models: []", ": models: is an empty list"),
        ("models: {a: [b]}", ": models: {'a': ['b']} lists no paths"),
        ("group: {a: b}", ": group: Cannot convert 'dict' to string"),
        ("flags: 3", ": flags: expected a list of words, or a mapping of flags to values, got 3"),
        ("flags: {clip-norm: {a: b}}", ": flags: has {'a': 'b'}"),
        ("flags: {no-epoch-checkpoints: false}", "switch off --no-epoch-checkpoints"),
        ("flags: {common.seed: 3}", "contain --seed, which this program sets"),
        ("task: mrpc\nmethod: [kd", " is not YAML (while parsing a flow sequence in"),
        ("- task", " contains no keys"),
        ("task: mrpc", "arguments are required: --method"),
    ],
)
def test_an_error_in_a_file_names_file_and_key(write, text, sentence, capsys):
    arguments = write(text)
    error = refusal(capsys, *arguments)
    assert (f"--grid {arguments[1]}{sentence}" if sentence[0] in ":, " else sentence) in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--grid", "nowhere.yaml"], "--grid nowhere.yaml cannot be read (No such file or directory)"),
        (["--task", "foo/bar"], "--task: 'foo/bar' is not a task: choose among CoLA"),
        (["--method", "cdr"], "--method cdr is not a method: choose among none, a"),
        (["--init", "a"], "--init: 'a' is not a list of layers"),
        (["--init", "random"], "--init random takes .* none"),
        (["--init", "random", "--init", "0,1", "--init", "random:6"], "--init random takes .* 2 and 6:"),
        (["--init", "random:0"], "--init: 'random:0' is not a list of layers"),
        (["--mapping", "0:x"], "--mapping: '0:x' is not a mapping: choose among skip, last, combine, combine-layers"),
        (["--mapping", "top"], "--mapping: 'top' is not a mapping"),
        (["--method", "att_kl_learn,lad", "--mapping", "skip,combine"], "--mapping combine .* --method att_kl_learn,lad "),
        (["--stage", "three"], "--stage: 'three' is unknown: choose among one, two"),
        (["--seeds", "0"], "--seeds: '0' is not a whole number from 1"),
        (["--lr", "5"], "--lr: '5' is not a learning rate"),
        (["--stage2-from", "x"], "--stage2-from: 'x' is unknown: choose among best, last"),
        (["--epo", "1"], "unrecognized arguments: --epo 1"),
        (["--group", "${x}"], "Interpolation key 'x' not found"),
        (["--", "--teacher-cache", "c"], "contain --teacher-cache, which this program sets"),
        (["--", "--update-freq", "4,0"], "--update-freq 4,0, which is no number of batches"),
        (["--", "--save-dir", "x", "--encoder-layers", "4"],
         "contain --save-dir, --encoder-layers, which"),
    ],
)  # fmt: skip
def test_an_error_in_a_command_line_names_the_flag_and_its_value(words, sentence, capsys):
    error = refusal(capsys, "--task", "mrpc", "--method", "kd", *words)
    assert re.search(sentence if ".*" in sentence else re.escape(sentence), error)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_ours_is_valid(path):
    config = read("--grid", str(path)).config
    assert f"python experiments.py --grid configs/grids/{path.name}" in path.read_text()
    if path.stem == "small_init":
        assert (len(config.method), len(config.init), config.seeds, config.epochs) == (4, 3, [1, 2], 2)
        assert (config.task, config.batch_size, config.lr) == (["SST-2"], [16], [5e-5])
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
