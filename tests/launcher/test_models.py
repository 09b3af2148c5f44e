"""Checkpoints, and grids of listed models: `-e pred` and `-e finetune`."""

import json
import re
import shlex
from pathlib import Path

import pytest

import experiments
from fairseq_kd.models.checkpoint import NAMES_IN_FOLDER
from launcher.models import (
    CHECKPOINT_NAMES,
    Unfinished,
    check_names,
    find_checkpoint,
    read_models,
    read_models_file,
)


def test_the_launcher_and_the_plugin_look_for_the_same_checkpoints():
    assert CHECKPOINT_NAMES == NAMES_IN_FOLDER


def test_a_checkpoint_is_a_file_or_in_a_folder(tmp_path):
    with pytest.raises(
        ValueError, match=f"--model {tmp_path} contains neither checkpoint_best.pt nor model.pt:"
    ):
        find_checkpoint(tmp_path, "--model")
    with pytest.raises(ValueError, match="--model nowhere does not exist: give a checkpoint"):
        find_checkpoint(Path("nowhere"), "--model")
    for name in ("model.pt", "checkpoint_best.pt"):
        (tmp_path / name).touch()
        assert find_checkpoint(tmp_path / name, "--teacher") == tmp_path / name
        assert find_checkpoint(tmp_path, "--teacher") == tmp_path / name


def test_a_run_is_a_model_once_it_is_finished(tmp_path):
    best = tmp_path / "checkpoint_best.pt"
    for name in (best, tmp_path / "spec.json"):
        name.touch()
    for given in (tmp_path, best):
        with pytest.raises(Unfinished, match=f"--teacher {given} is still being trained"):
            find_checkpoint(given, "--teacher")

    (tmp_path / "result.json").touch()
    assert find_checkpoint(tmp_path, "--teacher") == best


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a: x\nb: y", [("a", "x"), ("b", "y")]),
        ('{"a": "x"}', [("a", "x")]),
        ("- r/checkpoint_best.pt\n- runs/s\n- m.pt", [("r", "r/checkpoint_best.pt"), ("s", "runs/s"), ("m", "m.pt")]),
        ("a: [x, y]\nb: z", [("a", "x"), ("a", "y"), ("b", "z")]),
        ("- m.pt@0,2\n- m.pt", [("m-0_2", "m.pt"), ("m", "m.pt")]),
    ],
)  # fmt: skip
def test_a_file_lists_models_or_maps_names_to_them(tmp_path, text, entries):
    (tmp_path / "file").write_text(text)
    found = read_models_file(tmp_path / "file", "--pass_dic")
    check_names(found)
    assert [(entry.name, entry.path) for entry in found] == entries


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3", "file lists no models: give a list of checkpoints"),
        ("a: [[x]]", "lists no models"),
        ("a: []", "lists no models"),
        ("[]", "lists no models"),
        ("a/b: x", "--pass_dic contains the name 'a/b'"),
        ("a: [x", r"file is not YAML \(.*line 1"),
    ],
)
def test_an_invalid_file_of_models_is_named(tmp_path, text, sentence):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        check_names(read_models_file(tmp_path / "file", "--pass_dic"))


@pytest.mark.parametrize(
    ("word", "entry"),
    [
        ("runs/r", ("r", "runs/r", "all")),
        ("runs/r@random:3", ("r-random.3", "runs/r", "random:3")),
        ("mine=runs/r/checkpoint_best.pt@0,1", ("mine", "runs/r/checkpoint_best.pt", "0,1")),
        ("runs/r/checkpoint_share0.25.pt", ("r-share0.25", "runs/r/checkpoint_share0.25.pt", "all")),
        ("checkpoint_last.pt", ("checkpoint_last", "checkpoint_last.pt", "all")),
        ("runs/lr=1/r", ("r", "runs/lr=1/r", "all")),
        ("runs/you@here", ("you@here", "runs/you@here", "all")),
    ],
)
def test_a_word_gives_a_model_its_name_and_its_layers(word, entry):
    [read] = read_models([word], "--models")
    assert (read.name, read.path, read.layers) == entry


@pytest.fixture
def models(tmp_path) -> Path:
    """Write two finished runs, of MRPC and of MNLI, and other checkpoints; return their folder."""
    for task in ("MRPC", "MNLI"):
        folder = tmp_path / f"{task}-first"
        folder.mkdir()
        (folder / "checkpoint_best.pt").write_text(task)
        (folder / "spec.json").write_text(json.dumps({"task": task}))
        (folder / "result.json").write_text("{}")
    firsts = {}
    for method in ("att_kl_learn", "minilm"):
        firsts[method] = [str(tmp_path / f"{method}-{seed}.pt") for seed in (1, 2)]
        for path in firsts[method]:
            Path(path).write_text(Path(path).name)
    (tmp_path / "first.json").write_text(json.dumps(firsts))
    (tmp_path / "first.yaml").write_text(
        "".join(f"{name}: [{', '.join(paths)}]\n" for name, paths in firsts.items())
    )
    (tmp_path / "other.pt").write_text("weights")
    (tmp_path / "mixed.json").write_text(
        json.dumps({"minilm": [f"{tmp_path}/MRPC-first", f"{tmp_path}/MNLI-first"]})
    )
    (tmp_path / "mnli.json").write_text(json.dumps([f"{tmp_path}/MNLI-first"]))
    return tmp_path


@pytest.fixture
def planned(call, models, capsys):
    """Return a function from words, in which DIR stands for the models' folder, to the name and flags of each run."""

    def planned(*words: str) -> dict[str, dict[str, str]]:
        teacher = call.index("--teacher")
        own = call if "pred" in words else call[:teacher] + call[teacher + 2 :]
        given = [word.replace("DIR", str(models)) for word in words]
        assert experiments.main([*own, *given, "--dry-run"]) == 0
        lines = capsys.readouterr().out.replace(str(models), "DIR").splitlines()
        names = [line.removeprefix("# ") for line in lines if line.startswith("# MRPC")]
        commands = [shlex.split(line) for line in lines if "--criterion" in line]
        return {
            name.rpartition("-")[0]: {
                flag: value
                for flag, value in zip(command, command[1:], strict=False)
                if flag.startswith("--")
            }
            for name, command in zip(names, commands, strict=True)
        }

    return planned


@pytest.mark.parametrize(
    ("words", "started"),
    [
        # As in the original launcher: each seed starts from its own first stage.
        (
            ["-m", "att_kl_learn", "-s", "two_stage", "--mapping", "skip", "--seeds", "1,2", "--pass_dic", "DIR/first.json"],
            {"att_kl_learn-skip-second-seed1": "att_kl_learn-1.pt", "att_kl_learn-skip-second-seed2": "att_kl_learn-2.pt"},
        ),
        # Without words all methods are taken, and the seeds are counted.
        (
            ["--pass_dic", "DIR/first.yaml"],
            {f"{name}-second-seed{seed}": f"{name}-{seed}.pt" for name in ("att_kl_learn", "minilm") for seed in (1, 2)},
        ),
        # Models of a file and of the command line add up; the model of another task is left out.
        (
            ["--pass_dic", "DIR/mnli.json", "--models", "mine=DIR/other.pt", "DIR/MRPC-first", "--seeds", "3"],
            {"mine-second-seed3": "other.pt", "MRPC-first-second-seed3": "MRPC-first/checkpoint_best.pt"},
        ),
    ],
)  # fmt: skip
def test_second_stages_start_from_the_listed_models(planned, words, started):
    found = planned("-e", "pred", *words)
    assert {name.removeprefix("MRPC-kd-"): flags["--init-from"] for name, flags in found.items()} == {
        name: f"DIR/{path}" for name, path in started.items()
    }
    assert {flags["--criterion"] for flags in found.values()} == {"kd"}
    assert {flags["--init-layers"] for flags in found.values()} == {"all"}
    assert all("--teacher" in flags for flags in found.values())


@pytest.mark.parametrize("words", [["-e", "finetune"], ["--stage", "finetune"]])
def test_fine_tuning_tries_every_learning_rate_with_every_batch_size(call, capsys, words, models):
    given = [*words, "--models", f"{models}/other.pt", "--seeds", "1,2", "--dry-run"]
    assert experiments.main([*call, *given]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if "--batch-size" in line]
    flags = ("--batch-size", "--lr", "--total-num-update")
    tried = [tuple(command[command.index(flag) + 1] for flag in flags) for command in commands]
    assert len(tried) == 4 * 2 * 2
    rates = ("1e-05", "3e-05", "5e-05", "8e-05")
    assert sorted(set(tried)) == [
        (size, lr, updates) for size, updates in (("16", "459"), ("32", "230")) for lr in rates
    ]


def test_a_listed_model_gives_all_layers_some_or_none(planned):
    listed = ["trained=DIR/other.pt", "cut=DIR/other.pt@1,3,5", "untrained=DIR/other.pt@random:3"]
    one = ["--seeds", "1", "--batch-size", "16", "--lr", "1e-5"]
    found = planned("-e", "finetune", "--models", *listed, *one)
    names = ("--init-from", "--init-layers", "--encoder-layers", "--teacher")
    assert {name: tuple(map(flags.get, names)) for name, flags in found.items()} == {
        "MRPC-none-trained-one-seed1": ("DIR/other.pt", "all", None, None),
        "MRPC-none-cut-one-seed1": ("DIR/other.pt", "1,3,5", None, None),
        "MRPC-none-untrained-one-seed1": ("DIR/other.pt", "random", "3", None),
    }
    assert planned("-e", "pred", "--models", "DIR/other.pt@0,1", "--seeds", "1").keys() == {
        "MRPC-kd-other-0_1-second-seed1"
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("-e pred", "-e pred needs models to start from"),
        ("--method kd --pass_dic DIR/mnli.json", "--pass_dic is for -e pred and -e finetune"),
        ("--method kd --models x", "--models is for -e pred and -e finetune"),
        ("-e pred --pass_dic DIR/mnli.json -m crd", "has no entry for --method crd, only paths without names"),
        ("-e pred --pass_dic DIR/first.json -m crd", "has no entry for --method crd, only att_kl_learn, minilm"),
        ("-e pred --pass_dic DIR/first.json --mapping skip,last", "--mapping skip,last contains 2 mappings"),
        ("-e pred --pass_dic DIR/first.json -s one", "--stage one does not go with -e pred"),
        ("-e pred --pass_dic DIR/first.json --seeds 1,2,3", "2 checkpoints for att_kl_learn, .* --seeds has 3 .1,2,3."),
        ("-e pred --pass_dic DIR/first.json --seeds 4 -m minilm", "2 checkpoints for minilm, .* --seeds has 1 .4."),
        ("-e pred --pass_dic DIR/mixed.json --seeds 1,2", "--pass_dic lists 2 .* of which 1 is of MRPC"),
        ("-e pred --pass_dic DIR/mnli.json", "--pass_dic lists no model of MRPC: .* --task MRPC"),
        ("-e pred --pass_dic nowhere", "--pass_dic nowhere cannot be read"),
        ("-e pred --models x -m crd", "--method crd does not go with -e pred"),
        ("-e pred --models x -s one_stage", "--stage one does not go with -e pred"),
        ("-e finetune --models x --init 0,1", "--init 0,1 does not go with -e finetune, .* as PATH@0,1,2"),
        ("-s finetune,one --models x", "--stage finetune,one: "),
        ("-s finetune -e pred --models x", "--stage finetune: "),
        ("-e pred --models x/r y/r", "--models lists two models named r"),
        ("-e pred --models x@random", "--models x@random does not give the student's depth"),
        ("-e finetune --models mine=nowhere", "--models: mine = nowhere does not exist"),
    ],
)  # fmt: skip
def test_settings_that_conflict_are_refused(call, models, words, sentence, refused):
    assert re.search(sentence, refused(*call, *words.replace("DIR", str(models)).split(), "--dry-run"))


def test_another_model_of_that_name_makes_another_run(call, models, capsys):
    given = [*call, "-e", "pred", "--models", f"mine={models}/other.pt", "--seeds", "1", "--dry-run"]
    plans = []
    for weights in ("weights", "trained again"):
        (models / "other.pt").write_text(weights)
        assert experiments.main(given) == 0
        plans.append(capsys.readouterr().out.splitlines()[0])
    assert plans[0] != plans[1]
