"""A grid in YAML is the same grid as in flags."""

from pathlib import Path

import pytest
import yaml

import experiments
from launcher.cli import read_arguments

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "configs" / "grids").glob("*.yaml"))

FLAGS = [
    *("--task", "mrpc,rte", "--method", "none,kd,hidden_mse_learn", "--init", "0,1,2", "--init", "all"),
    *("--mapping", "skip,0:0,1:4", "--stage", "one,two", "--seeds", "3,4", "--data", "d", "--teacher", "t/{task}"),
    *("--out", "o", "--group", "g", "--epochs", "3", "--stage1-epochs", "4", "--batch-size", "8,16", "--lr", "5e-5,0.0001"),
    *("--jobs", "2", "--retries", "0", "--cpu", "--", "--clip-norm", "1.0", "--autocast", "bf16", "--fp16"),
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
flags: {optimization.clip_norm: 1.0, autocast: bf16, common.fp16: true, bf16: false}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> list[str]:
        (tmp_path / "grid.yaml").write_text(text)
        return ["--grid", str(tmp_path / "grid.yaml")]

    return write


def read(arguments):
    """The settings that are no part of the grid, and the grid."""
    args, grid, _ = read_arguments("", arguments)
    apart = ("grid", "task", "method", "mapping", "stage", "batch_size", "lr", "seeds", "typed", "given")
    return {name: value for name, value in vars(args).items() if name not in apart}, grid


def test_a_file_says_the_same_as_flags(write):
    assert read(write(FILE)) == read(FLAGS)


def test_the_same_grid_gives_the_same_runs(call, write, capsys):
    def planned(arguments: list[str]) -> list[str]:
        assert experiments.main(["--dry-run", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    rest = [word for word in call if word != "--cpu"]
    given = {flag.removeprefix("--"): value for flag, value in zip(rest[::2], rest[1::2], strict=True)}
    file = {**given, "cpu": True, "method": "att_kl_learn", "init": [[3, 4, 5]], "seeds": [1],
            "flags": ["--clip-norm", 1.0]}  # fmt: skip
    own = ["--method", "att_kl_learn", "--init", "3,4,5", "--seeds", "1"]

    from_file = planned(write(yaml.safe_dump(file)))
    assert len([line for line in from_file if line.startswith("# MRPC")]) == 2
    assert from_file == planned([*call, *own, "--", "--clip-norm", "1.0"])
    assert from_file == planned([*call, *own, "--", "optimization.clip_norm=1.0"])


def test_the_command_line_wins_over_the_file(write):
    arguments = [
        *write(FILE),
        "--seeds",
        "9",
        "--init",
        "3,4,5",
        "--lr",
        "1e-4",
        "--",
        "--clip-norm",
        "2",
        "--bf16",
    ]
    settings, grid = read(arguments)
    assert (grid.seeds, grid.inits, grid.lrs, settings["jobs"]) == ((9,), ("3,4,5",), (1e-4,), 2)
    assert grid.flags == ("--autocast", "bf16", "--fp16", "--clip-norm", "2", "--bf16")


@pytest.mark.parametrize("flags", ["{fp16: true, init-head: true}", "[--fp16, model.init_head=true]"])
def test_a_false_on_the_command_line_takes_the_files_flag_away(write, flags):
    words = write(f"task: mrpc\nmethod: kd\nflags: {flags}")
    assert read([*words, "--", "common.fp16=false", "model.init_head=false", "--bf16"])[1].flags == (
        "--bf16",
    )
    assert read([*words, "--", "--fp16=false"])[1].flags == ("--init-head",)


@pytest.mark.parametrize(
    ("given", "inits"),
    [
        ("[0, 1, 2]", ("0,1,2",)),
        ("0,1,2", ("0,1,2",)),
        ('["0,1,2", "random", [3]]', ("0,1,2", "random", "3")),
        ("random:3", ("random:3",)),
    ],
)
def test_inits_are_lists_of_layers(write, given, inits):
    assert read(write(f"task: mrpc\nmethod: kd\ninit: {given}"))[1].inits == inits


@pytest.mark.parametrize("models", ["{a: x, b: y@random:3}", "[a=x, b=y@random:3]"])
def test_models_are_paths_or_a_mapping_of_names_to_them(write, models):
    from_file = read(write(f"task: mrpc\nexperiment: finetune\nmodels: {models}"))[1]
    assert from_file == read(["--task", "mrpc", "-e", "finetune", "--models", "a=x", "b=y@random:3"])[1]
    assert [(entry.name, entry.path, entry.layers) for entry in from_file.models] == [
        ("a", "x", "all"), ("b", "y", "random:3")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("methods: kd", ": methods is not a flag that a grid may have"),
        ("dry-run: true", ": dry-run is not a flag that a grid may have"),
        ("grid: other.yaml", ": grid is not a flag that a grid may have"),
        ("task: foo", ": argument --task/-t: 'foo' is not a task"),
        ("epochs: 0", ": argument --epochs: '0' is not a whole number from 1"),
        ("epochs: [1, 2]", ": epochs has [1, 2]: give one value"),
        ("cpu: 1", ": cpu is 1: write true or false"),
        ("seeds: [true]", ": seeds has True: give one value or a list of them"),
        ("task: []", ": task is empty"),
        ("init: [[a]]", ": init has ['a']: give layers such as [0, 1, 2]"),
        ("mapping: 1:4", ": mapping has 64, which is no text: put pairs such as 1:4 in quotes"),
        ("lr: [1e-5, 2]", ": argument --lr: '2' is not a learning rate"),
        ("models: []", ": models is empty"),
        ("models: {a/b: c}", ": models has the name 'a/b': use letters"),
        ("models: {a: [b]}", ": models has ['b']: give one value"),
        ("group: {a: b}", ": group has {'a': 'b'}: give one value"),
        ("flags: 3", ": flags is 3: give a list of words"),
        ("flags: {clip-norm: {a: b}}", ": flags has {'a': 'b'}"),
        (
            "flags: {no-epoch-checkpoints: false}",
            "the flags after -- switch off --no-epoch-checkpoints, which",
        ),
        ("flags: {common.seed: 3}", "the flags after -- name --seed, which this program sets"),
        ("task: mrpc\nmethod: [kd", ", line 2 is not YAML"),
        ("- task", " holds no keys: write lines such as `task: mrpc`"),
        ("task: mrpc", "the following arguments are required: --method"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(write, text, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        read_arguments("", write(text))
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.startswith("Cannot start: ")
    assert told.count("\n") == 1


def test_a_file_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        read_arguments("", ["--grid", "nowhere.yaml"])
    assert "--grid nowhere.yaml cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_ours_is_one(path):
    _, grid = read(["--grid", str(path)])
    assert f"python experiments.py --grid configs/grids/{path.name}" in path.read_text()
    if path.stem == "small_init":
        assert (len(grid.methods), len(grid.inits), grid.seeds, grid.epochs) == (4, 3, (1, 2), 2)
        assert (grid.tasks, grid.batch_sizes, grid.lrs) == (("SST-2",), (16,), (5e-5,))
    if path.stem == "finetune_pretrained":
        defaults = read(["--task", "sst2", "-e", "finetune", "--models", "x"])[1]
        assert (grid.kind, grid.lrs, grid.batch_sizes) == ("finetune", defaults.lrs, defaults.batch_sizes)
        assert [entry.layers for entry in grid.models] == ["all", "all", "1,3,5", "random:3"]
    if path.stem == "acl2023":
        assert (len(grid.tasks), grid.seeds, grid.epochs, grid.batch_sizes, grid.lrs) == (
            7,
            (1, 2, 3, 4),
            10,
            (None,),
            (None,),
        )


@pytest.mark.parametrize(
    ("names", "batch_size", "lr"),
    [
        (("small_init", "small_init_qnli", "small_methods", "small_mrpc"), 16, 5e-5),
        (("small_hsk", "small_one_stage"), 16, 5e-5),  # whose teacher is that of small_methods
        (("alp_kd", "pkd_search_1", "pkd_search_2"), 32, None),
        (("acl2023", "lad_rte", "lad_sst-2"), None, None),
    ],
)
def test_teachers_that_grids_make_are_as_their_groups_have_them(names, batch_size, lr):
    for name in names:
        settings, _ = read(["--grid", str(ROOT / "configs" / "grids" / f"{name}.yaml")])
        assert (settings["teacher_batch_size"], settings["teacher_lr"]) == (batch_size, lr), name
        assert (settings["teacher_epochs"], settings["teacher"]) == (10, None), name


def test_there_are_grids():
    assert {"acl2023", "small_init", "small_methods"} <= {path.stem for path in GRIDS}
