"""`-e pred` and `-e finetune`: grids of models that a file or the command line lists."""

import json
import shlex
from pathlib import Path

import pytest

import experiments
from launcher.model_list import read_list, read_words


@pytest.fixture
def models(tmp_path) -> Path:
    """Two finished runs' folders, of MRPC and of MNLI, and a checkpoint of nobody's."""
    for task in ("MRPC", "MNLI"):
        folder = tmp_path / f"{task}-first"
        folder.mkdir()
        (folder / "checkpoint_best.pt").write_text(task)
        (folder / "spec.json").write_text(json.dumps({"task": task}))
        (folder / "result.json").write_text("{}")
    (tmp_path / "other.pt").write_text("weights")
    return tmp_path


ONE = ["--batch-size", "16", "--lr", "1e-5"]


def listing(models: Path, content) -> list[str]:
    (models / "models.json").write_text(json.dumps(content))
    return ["--pass_dic", str(models / "models.json"), "--seeds", "1,2"]


def specs(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/spec.json"))]


def test_second_stages_start_from_the_models_listed(call, models, tmp_path, capsys):
    content = {"mine": f"{models}/MRPC-first", "theirs": f"{models}/other.pt", "mnli": f"{models}/MNLI-first"}
    assert experiments.main([*call, "-e", "pred", *listing(models, content)]) == 0

    found = specs(tmp_path / "runs" / "g")
    assert [(spec["init"], spec["stage"], spec["method"], spec["seed"]) for spec in found] == [
        ("mine", "second", "kd", 1), ("mine", "second", "kd", 2),
        ("theirs", "second", "kd", 1), ("theirs", "second", "kd", 2),
    ]  # fmt: skip
    [run] = (tmp_path / "runs" / "g").glob("MRPC-kd-mine-second-seed1-*")
    assert (
        f"--init-from {models}/MRPC-first/checkpoint_best.pt --init-layers all"
        in (run / "command.txt").read_text()
    )
    assert "| MRPC | kd | mine | - | two | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out


@pytest.fixture
def firsts(models) -> dict[str, list[str]]:
    """First-stage checkpoints of two methods, one for each seed."""
    found = {}
    for method in ("att_kl_learn", "minilm"):
        paths = [models / f"{method}-{seed}.pt" for seed in (1, 2)]
        for path in paths:
            path.write_text(path.name)
        found[method] = list(map(str, paths))
    return found


def started(folder: Path) -> dict[tuple[str, int], str]:
    """Which file each run started from, by its name for the model and its seed."""
    found = {}
    for run in folder.glob("*/spec.json"):
        words = shlex.split(run.with_name("command.txt").read_text())
        spec = json.loads(run.read_text())
        found[spec["init"], spec["seed"]] = Path(words[words.index("--init-from") + 1]).name
    return found


@pytest.mark.parametrize("file", ["first.json", "first.yaml"])
def test_the_original_call_starts_each_seed_from_its_own_first_stage(call, firsts, tmp_path, capsys, file):
    lists = "".join(f"{method}: [{', '.join(paths)}]\n" for method, paths in firsts.items())
    (tmp_path / file).write_text(json.dumps(firsts) if file.endswith("json") else lists)
    words = ["-e", "pred", "-m", "att_kl_learn", "-s", "two_stage", "--mapping", "skip", "--seeds", "1,2"]
    assert experiments.main([*call, *words, "--pass_dic", str(tmp_path / file)]) == 0

    assert started(tmp_path / "runs" / "g") == {
        ("att_kl_learn-skip", 1): "att_kl_learn-1.pt",
        ("att_kl_learn-skip", 2): "att_kl_learn-2.pt",
    }
    assert {spec["stage"] for spec in specs(tmp_path / "runs" / "g")} == {"second"}
    assert (
        "| MRPC | kd | att_kl_learn-skip | - | two | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out
    )


def test_without_words_all_methods_are_taken_and_seeds_counted(call, firsts, tmp_path):
    (tmp_path / "first.json").write_text(json.dumps(firsts))
    assert experiments.main([*call, "-e", "pred", "--pass_dic", str(tmp_path / "first.json")]) == 0
    assert started(tmp_path / "runs" / "g") == {
        (method, seed): f"{method}-{seed}.pt" for method in firsts for seed in (1, 2)
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", "1,2,3"], "--pass_dic lists 2 checkpoints for att_kl_learn, one for each seed, and there are 3 seeds "
         "(1,2,3): list as many, or change --seeds"),
        (["--seeds", "4", "-m", "minilm"], "--pass_dic lists 2 checkpoints for minilm, one for each seed, and there is 1 "
         "seed (4)"),
        (["-m", "crd"], "has att_kl_learn, minilm, and nothing for --method crd: add it, or correct one"),
        (["--mapping", "skip,last"], "--mapping skip,last names 2 mappings, and --pass_dic lists models of one"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_the_words_is_refused(call, firsts, tmp_path, words, sentence, capsys):
    (tmp_path / "first.json").write_text(json.dumps(firsts))
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, "-e", "pred", "--pass_dic", str(tmp_path / "first.json"), *words])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_list_of_two_tasks_is_refused(call, models, capsys):
    given = listing(models, {"minilm": [f"{models}/MRPC-first", f"{models}/MNLI-first"]})
    with pytest.raises(SystemExit):
        experiments.main([*call, "-e", "pred", *given])
    assert (
        "--pass_dic lists 2 checkpoints for minilm, of which 1 is of MRPC: list those"
        in capsys.readouterr().err
    )


def without_teacher(call: list[str]) -> list[str]:
    at = call.index("--teacher")
    return call[:at] + call[at + 2 :]


def test_models_are_fine_tuned_without_a_teacher(call, models, tmp_path, capsys):
    given = [*listing(models, [f"{models}/MNLI-first", f"{models}/other.pt"]), *ONE]
    assert experiments.main([*without_teacher(call), "-e", "finetune", *given]) == 0

    found = specs(tmp_path / "runs" / "g")
    assert {(spec["init"], spec["method"], spec["teacher"]) for spec in found} == {
        ("MNLI-first", "none", ""),
        ("other", "none", ""),
    }
    assert "| MRPC | none | other | - | one | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-e", "finetune"], ["--stage", "finetune"]])
def test_fine_tuning_tries_every_learning_rate_with_every_batch_size(call, models, capsys, words):
    given = [*without_teacher(call), *words, "--models", f"{models}/other.pt", "--seeds", "1,2"]
    assert experiments.main([*given, "--dry-run"]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if "--batch-size" in line]

    def tried(command: list[str]) -> list[str]:
        flags = ("--batch-size", "--lr", "--total-num-update", "--lr-scheduler")
        return [command[command.index(flag) + 1] for flag in flags]

    assert len(commands) == 4 * 2 * 2
    assert sorted({tuple(tried(command)) for command in commands}) == [
        (size, lr, updates, "polynomial_decay")
        for size, updates in (("16", "459"), ("32", "230"))
        for lr in ("1e-05", "3e-05", "5e-05", "8e-05")
    ]

    assert experiments.main([*given, *ONE, "--dry-run"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if "--batch-size" in line]) == 2


def test_a_control_starts_from_layers_of_a_model_or_from_none(call, models, tmp_path, capsys):
    listed = [
        f"trained={models}/other.pt",
        f"cut={models}/other.pt@1,3,5",
        f"untrained={models}/other.pt@random:3",
    ]
    given = [*without_teacher(call), "-e", "finetune", "--models", *listed, "--seeds", "1,2", *ONE]
    assert experiments.main(given) == 0

    started = {}
    for run in (tmp_path / "runs" / "g").glob("*/command.txt"):
        init = json.loads(run.with_name("spec.json").read_text())["init"]
        words = shlex.split(run.read_text())
        started[init] = words[words.index("--init-from") : words.index("--criterion")]
    assert started == {
        "trained": ["--init-from", f"{models}/other.pt", "--init-layers", "all"],
        "cut": ["--init-from", f"{models}/other.pt", "--init-layers", "1,3,5"],
        "untrained": [
            "--init-from",
            f"{models}/other.pt",
            "--init-layers",
            "random",
            "--encoder-layers",
            "3",
        ],
    }
    assert "| MRPC | none | untrained | - | one | accuracy | 73.50 ± 0.71 | 2 |" in capsys.readouterr().out


def test_second_stages_start_from_layers_too(call, models, capsys):
    listed = ["--models", f"{models}/other.pt@0,1", "--seeds", "1", "--dry-run"]
    assert experiments.main([*call, "-e", "pred", *listed]) == 0
    output = capsys.readouterr().out
    assert "# MRPC-kd-other-0_1-second-seed1-" in output
    assert f"--init-from {models}/other.pt --init-layers 0,1\n" in output


def test_models_of_a_file_and_of_the_command_line_add_up(call, models, capsys):
    given = [*listing(models, {"mine": f"{models}/other.pt"}), "--models", f"{models}/MNLI-first", *ONE]
    assert experiments.main([*without_teacher(call), "-e", "finetune", "--dry-run", *given]) == 0
    output = capsys.readouterr().out
    assert output.count("# MRPC-none-mine-one-seed") == output.count("# MRPC-none-MNLI-first-one-seed") == 2


def test_another_model_of_that_name_makes_other_runs(call, models, tmp_path):
    given = [*without_teacher(call), "-e", "finetune", *listing(models, {"mine": f"{models}/other.pt"}), *ONE]
    experiments.main(given)
    (models / "other.pt").write_text("trained again")
    experiments.main(given)
    assert len(specs(tmp_path / "runs" / "g")) == 4


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a: x\nb: y", (("a", "x"), ("b", "y"))),
        ('{"a": "x"}', (("a", "x"),)),
        ("- runs/r/checkpoint_best.pt\n- runs/s\n- m.pt", (("r", "runs/r/checkpoint_best.pt"), ("s", "runs/s"),
                                                            ("m", "m.pt"))),
        ("a: [x, y]\nb: z", (("a", "x"), ("a", "y"), ("b", "z"))),
        ("- m.pt@0,2\n- m.pt", (("m-0_2", "m.pt"), ("m", "m.pt"))),
    ],
)  # fmt: skip
def test_a_list_or_a_mapping_is_read(tmp_path, text, entries):
    (tmp_path / "file").write_text(text)
    assert tuple((entry.name, entry.path) for entry in read_list(tmp_path / "file", "--pass_dic")) == entries


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
def test_a_word_names_a_model_its_name_and_its_layers(word, entry):
    [read] = read_words([word], "--models")
    assert (read.name, read.path, read.layers) == entry


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3", "file holds something else: give a list of checkpoints and run folders, or a mapping"),
        ("a: [[x]]", "holds something else"),
        ("a: []", "lists nothing"),
        ("[]", "lists nothing"),
        ("a/b: x", "has the name 'a/b': use letters"),
        ("a: [x", "file, line 1 is not YAML"),
    ],
)
def test_what_is_neither_is_said(tmp_path, text, sentence):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_list(tmp_path / "file", "--pass_dic")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ["-e", "pred"],
            "-e pred needs models to start from: name them with --models PATH, or --pass_dic FILE",
        ),
        (["-e", "pred", "-m", "kd", "-s", "two_stage"], "-e pred needs models to start from"),
        (["--method", "kd", "--pass_dic", "FILE"], "--pass_dic is for -e pred and -e finetune: leave it out"),
        (
            ["-e", "pred", "--pass_dic", "FILE", "-m", "crd"],
            "has no names, and nothing for --method crd: add it, or correct one",
        ),
        (
            ["-e", "pred", "--models", "x", "-m", "crd"],
            "--method does not go with -e pred, whose models",
        ),
        (["--method", "kd", "--models", "x"], "--models is for -e pred and -e finetune: leave it out"),
        (
            ["-e", "finetune", "--pass_dic", "FILE", "--init", "0,1"],
            "--init does not go with -e finetune, whose models are listed: leave it out, or name layers as PATH@0,1,2",
        ),
        (["-s", "finetune,one", "--models", "x"], "--stage finetune means -e finetune and stands alone"),
        (["-s", "finetune", "-e", "pred", "--models", "x"], "--stage finetune means -e finetune and stands"),
        (["-e", "pred", "--models", "x/r", "y/r"], "--models lists two models named r: give them names"),
        (
            ["-e", "pred", "--models", "x@random"],
            "--models x@random says nothing of the student's depth: write",
        ),
        (["-e", "pred", "--models", "x", "-s", "one_stage"], "--stage does not go with -e pred"),
        (
            ["-e", "pred", "--pass_dic", "FILE"],
            "--pass_dic lists no model of MRPC: add one, or leave out --task MRPC",
        ),
        (["-e", "pred", "--pass_dic", "nowhere"], "--pass_dic nowhere cannot be read"),
    ],
)
def test_what_does_not_go_together_is_said(call, models, more, sentence, capsys):
    file = listing(models, [f"{models}/MNLI-first"])[1]
    with pytest.raises(SystemExit) as stopped:
        experiments.main([*call, *(file if word == "FILE" else word for word in more)])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(call, models, capsys):
    with pytest.raises(SystemExit):
        experiments.main([*without_teacher(call), "-e", "finetune", *listing(models, {"mine": "nowhere"})])
    assert "--pass_dic: mine = nowhere does not exist" in capsys.readouterr().err


def test_the_original_words_for_stages_are_understood(call, models, capsys):
    given = listing(models, [f"{models}/MRPC-first"])
    assert experiments.main(["--dry-run", *call, "-e", "pred", "-s", "two_stage", *given]) == 0
