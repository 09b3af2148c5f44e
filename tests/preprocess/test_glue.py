import subprocess
import sys
from pathlib import Path

import pytest

from preprocess.encoders import load_encoder
from preprocess.glue import main
from preprocess.tasks import TASKS
from tests.preprocess.conftest import meta_of
from tests.tiny import ROOT


def stock_task(folder: Path, meta: dict):
    """Return fairseq's own sentence_prediction task for the folder."""
    from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask

    config = SentencePredictionConfig(
        data=str(folder),
        num_classes=meta["num_classes"],
        init_token=0,
        separator_token=2 if meta["pair_format"] == "roberta" else None,
        no_shuffle=True,
        regression_target=meta["regression"],
        classification_head_name="head",
        max_positions=meta["max_positions"],
        seed=1,
    )
    return SentencePredictionTask.setup_task(config)


@pytest.mark.parametrize("task", list(TASKS))
def test_stock_fairseq_reads_every_task(task, request, run_glue, glue_dir, tmp_path):
    kind = ("gpt2", "wordpiece", "sentencepiece")[list(TASKS).index(task) % 3]
    encoder_folder = request.getfixturevalue(f"{kind}_folder")
    assert run_glue("--tasks", task, encoder=encoder_folder) == 0
    meta = meta_of(tmp_path, task)
    encoder = load_encoder(encoder_folder)
    between = [2, 2] if meta["pair_format"] == "roberta" else [2]

    stock = stock_task(tmp_path / "out" / f"{task}-bin", meta)
    assert stock.source_dictionary.index("<mask>") == 4 + len(encoder.symbols)

    for split, counts in meta["splits"].items():
        dataset = stock.load_dataset(split)
        assert len(dataset) == counts["sentences"] > 0

        for i, (texts, label) in enumerate(expected_rows(glue_dir, task, split)):
            sentences = [encoder.encode([text])[0] for text in texts]
            joined = [0, *sentences[0], *(between + sentences[1] if meta["pairs"] else []), 2]
            sample = dataset.collater([dataset[i]])
            assert sample["net_input"]["src_tokens"].tolist() == [joined]
            assert ("target" in sample) == (label is not None)
            if label is not None:
                assert sample["target"].flatten().tolist() == pytest.approx([label])


def expected_rows(glue_dir, task, split):
    """Return texts and class number of the first row of a split of the small GLUE."""
    first = {
        ("CoLA", "train"): (["The ferry leaves."], 1),
        ("CoLA", "valid"): (["Nobody said it."], 1),
        ("CoLA", "test"): (["The mill circles."], None),
        ("SST-2", "train"): (["a red kite"], 1),
        ("MRPC", "train"): (['He said " noon .', "Noon , he said ."], 1),
        ("QQP", "train"): (["Is it noon?", "Is it 12?"], 1),
        ("QQP", "test"): (["Is it?", "It is?"], None),
        ("STS-B", "train"): (["A kite.", "A bird."], 0.76),
        ("MNLI", "train"): (["A kite.", "A bird."], 1),
        ("MNLI", "valid"): (["A mill.", "A building."], 0),
        ("MNLI", "valid1"): (["A goat.", "A sheep."], 2),
        ("MNLI", "test1"): (["A horn.", "A goat."], None),
        ("QNLI", "train"): (["When?", 'At "noon.'], 0),
        ("RTE", "train"): (["A kite.", "A bird."], 1),
        ("WNLI", "valid"): (["They repaint it.", "They do."], 1),
        ("SNLI", "test"): (["A mill.", "A cat."], 1),
        ("AX", "test"): (["The cat sat.", "The cat did not."], None),
    }
    return [first[task, split]] if (task, split) in first else []


def test_all_tasks_of_a_folder_at_once(run_glue, tmp_path, capsys):
    assert run_glue() == 0
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == sorted(f"{task}-bin" for task in TASKS)
    printed = capsys.readouterr()
    assert "2 pairs  1 dropped  0 cut  (1 malformed)  from train.tsv" in printed.out
    assert "QQP/train.tsv line 3: 4 fields instead of 6; dropped" in printed.err
    assert "QQP/test.tsv line 3: 2 fields instead of 3; kept with the text that it has" in printed.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--tasks", "foo"], "--tasks foo is unknown"),
        (["--tasks", "RTE", "--max-positions", "5"], "--max-positions 5 is out of range"),
        (["--tasks", "RTE", "--split-dev", "1.0"], "--split-dev 1.0 is out of range"),
        (["--tasks", "RTE,QNLI", "--train-file", "x"], "names 2 tasks, but --train-file"),
        (["--tasks", "RTE", "--encoder", "wordpiece"], "has neither vocab.txt nor"),
        (["--tasks", "QQP", "--strict"], "line 3: 4 fields instead of 6"),
        (["--tasks", "AX", "--split-dev", "0.1"], "--split-dev: AX has no training file"),
        (["--glue-dir", "absent"], "--glue-dir absent is not a folder"),
        (["--tasks", ","], "--tasks ',' names no task"),
        (["--tasks", "RTE", "--splits", ","], "--splits ',' names no split"),
    ],
)
def test_an_error_has_one_line_and_leaves_no_files(arguments, found, run_glue, tmp_path, capsys):
    assert run_glue(*arguments) == 1
    error = capsys.readouterr().err
    assert found in error
    assert error.startswith("preprocess.glue: ")
    assert error.count("\n") == 1
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())


def test_it_starts_without_torch_and_fairseq():
    code = "import sys, preprocess.glue; print([m for m in ('torch', 'fairseq', 'transformers') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


PUBLISHED = {
    "CoLA": {"train": 8551, "valid": 1043, "test": 1063},
    "MRPC": {"train": 3668, "valid": 408, "test": 1725},
    "STS-B": {"train": 5749, "valid": 1500, "test": 1379},
}


@pytest.mark.real_data
@pytest.mark.parametrize("task", list(PUBLISHED))
def test_no_row_of_the_real_files_is_lost(task, real_data, tmp_path):
    folders = {"--glue-dir": "glue", "--encoder-dir": "gpt2_bpe"}
    given = [word for flag, name in folders.items() for word in (flag, str(real_data / name))]
    assert main([*given, "--out", str(tmp_path / "out"), "--tasks", task, "--strict"]) == 0
    splits = meta_of(tmp_path, task)["splits"]
    assert {split: counts["sentences"] for split, counts in splits.items()} == PUBLISHED[task]
    assert [counts["dropped"] for counts in splits.values()] == [0, 0, 0]
