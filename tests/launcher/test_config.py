"""The values of settings, in grid files and command lines."""

import pytest

from tests.launcher.test_cli import read, refusal


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
