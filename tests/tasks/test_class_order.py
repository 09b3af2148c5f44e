"""Data of two orders of the same classes: in each place the answers belong to the labels."""

import json
import logging
from argparse import Namespace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from fairseq_cli import preprocess
from torch.nn.functional import one_hot

from fairseq_kd.convert.stock import stock_state
from fairseq_kd.data.metadata import class_names
from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.signals import Wanted
from scripts import evaluate, export_fairseq, name_classes, predict
from tests.tiny import SHAPE, batch, build, train_command, train_here, weights, write_data

NLI = ("entailment", "neutral", "contradiction")
HEAD = "sentence_classification_head"
SIZES = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4,
         "init_layers": "random"}  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """Write data like preprocess.glue, with the classes in a fixed order."""
    folder = tmp_path_factory.mktemp("ours") / "MNLI-bin"
    data = write_data(folder, (("train", 96), ("valid", 60)), classes=3, pairs=False)
    return named(data, NLI)


@pytest.fixture(scope="module")
def stock(tmp_path_factory, ours) -> Path:
    """Binarize the same sentences with fairseq-preprocess, which orders the classes by frequency."""
    text, out = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("stock") / "nli-stock-bin"
    words, labels = Dictionary.load(str(ours / "input0" / "dict.txt")), numbers(ours)
    for split in ("train", "valid"):
        rows = data_utils.load_indexed_dataset(str(ours / "input0" / split), words)
        (text / f"{split}.input0").write_text("".join(words.string(row) + "\n" for row in rows))
        (text / f"{split}.label").write_text("".join(NLI[label] + "\n" for label in labels[split]))
    binarize(text, out, "input0", "--srcdict", str(ours / "input0" / "dict.txt"))
    binarize(text, out, "label")
    return out


def numbers(data: Path) -> dict[str, np.ndarray]:
    """Return the stored class number of each sentence, by split."""
    paths = {split: str(data / "label" / split) for split in ("train", "valid")}
    splits = {split: data_utils.load_indexed_dataset(path) for split, path in paths.items()}
    return {split: np.array([int(row[0]) - 4 for row in rows]) for split, rows in splits.items()}


def binarize(text: Path, out: Path, name: str, *flags: str) -> None:
    files = [word for split in ("train", "valid") for word in (f"--{split}pref", f"{text / split}.{name}")]
    command = ["fairseq-preprocess", "--only-source", *files, "--destdir", str(out / name), *flags]
    handlers = list(logging.getLogger("fairseq_cli.preprocess").handlers)
    with mock.patch("sys.argv", command):
        preprocess.cli_main()
    logging.getLogger("fairseq_cli.preprocess").handlers = handlers


def named(data: Path, names: tuple[str, ...]) -> Path:
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "task": "MNLI", "labels": names}))
    (data / "label" / "dict.txt").write_text("".join(f"{name} 1\n" for name in names))
    return data


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, ours) -> Path:
    """Write a converted teacher with high accuracy on the dev set, and its classes in the order of `ours`."""
    state = weights(SHAPE, classes=3)
    for label in range(3):  # words of a class look alike, so that a linear classifier finds them
        state["encoder.sentence_encoder.embed_tokens.weight"][4 + 20 * label : 24 + 20 * label, label] += 3
    path = tmp_path_factory.mktemp("teacher") / "model.pt"
    config = {"_name": "roberta_student", **SHAPE.config(), "class_names": list(NLI)}
    torch.save({"cfg": {"model": config}, "model": state}, path)

    task, _, _ = build(ours, path, "kd")
    sample, model = batch(task, range(60)), task.teacher.model
    with torch.no_grad():
        features, _ = model(**sample["net_input"], features_only=True)
        pooled = model.classification_heads[HEAD].dense(features[:, 0]).tanh()
        pooled = torch.cat([pooled, torch.ones(60, 1)], dim=1)
    solved = torch.linalg.lstsq(pooled, 10 * one_hot(sample["target"], 3).float()).solution.T
    state[f"classification_heads.{HEAD}.out_proj.weight"] = solved[:, :-1].contiguous()
    state[f"classification_heads.{HEAD}.out_proj.bias"] = solved[:, -1].contiguous()
    torch.save({"cfg": {"model": config}, "model": state}, path)
    return path


def renamed(path: Path, out: Path, names: tuple[str, ...]) -> Path:
    """Write a copy of the checkpoint with these class names; return its path."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"]["class_names"] = list(names)
    torch.save(state, out)
    return out


def accuracy(logits, targets) -> float:
    return float((np.asarray(logits).argmax(axis=1) == np.asarray(targets)).mean())


def evaluated(checkpoint: Path, data: Path, tmp_path: Path) -> tuple[float, float]:
    """Accuracy on the dev set by evaluate.py and by predict.py."""
    flags = ["--checkpoint", str(checkpoint), "--data", str(data), "--cpu"]
    evaluate.main([*flags, "--split", "valid", "--csv", str(tmp_path / "scores.csv")])
    columns, row = ((tmp_path / "scores.csv").read_text()).splitlines()
    scores = dict(zip(columns.split(","), row.split(","), strict=True))
    predict.main([*flags, "--split", "valid", "--out", str(tmp_path / "predictions")])
    found = np.load(tmp_path / "predictions" / "valid.npz")
    np.testing.assert_array_equal(found["labels"], numbers(data)["valid"])
    return float(scores["accuracy"]) / 100, accuracy(found["logits"], found["labels"])


def taught(data: Path, teacher: Path) -> float:
    """Accuracy of the teacher's logits, as the student sees them, on the dev set."""
    task, _, _ = build(data, teacher, "kd")
    sample = batch(task, range(60))
    return accuracy(task.teacher.signals(sample, Wanted(logits=True)).logits, sample["target"])


def trained(data: Path, out: Path, *flags: str) -> Path:
    """Train a student from the teacher's weights and head, with a negligible learning rate; return its checkpoint."""
    given = "--criterion kd --init-head --lr 1e-9 --batch-size 48"
    train_here(train_command(data, out, given, "--no-epoch-checkpoints", *flags))
    return out / "checkpoint_best.pt"


def test_classes_are_numbered_as_in_stock_sentence_prediction(stock, ours, teacher):
    given = {"num_classes": 3, "seed": 1, "no_shuffle": True, "regression_target": False}
    cfg = SentencePredictionConfig(data=str(stock), **given)
    theirs = SentencePredictionTask.setup_task(cfg)
    theirs.load_dataset("train")
    task, _, _ = build(stock, teacher, "kd")
    task.load_dataset("train")

    expected = [int(theirs.dataset("train")[index]["target"]) for index in range(96)]
    assert [int(task.dataset("train")[index]["target"]) for index in range(96)] == expected
    names = task.metadata.labels
    assert [names[label] for label in expected] == [NLI[label] for label in numbers(ours)["train"]]
    assert names == tuple(theirs.label_dictionary.string([number + 4]) for number in range(3)) != NLI
    assert "madeupword0000" in theirs.label_dictionary.symbols


@pytest.mark.parametrize("names", [NLI, ("ENTAILMENT", "Neutral", "contradiction")])
def test_a_teacher_answers_in_the_order_of_the_data(stock, ours, teacher, tmp_path, names):
    given = renamed(teacher, tmp_path / "model.pt", names)
    right = taught(ours, given)
    assert right > 0.9
    assert taught(stock, given) == right
    for data in (ours, stock):
        assert evaluated(given, data, tmp_path) == pytest.approx((right, right))


@pytest.fixture(scope="module")
def student(tmp_path_factory, stock, teacher) -> Path:
    """Train a student on `stock`; return its checkpoint."""
    return trained(stock, tmp_path_factory.mktemp("student"), "--teacher", str(teacher))


@pytest.mark.slow
def test_a_student_remembers_the_order_of_its_data(stock, ours, teacher, student, tmp_path):
    right = taught(ours, teacher)
    state = torch.load(student, weights_only=True)
    assert state["cfg"]["model"]["class_names"] == list(class_names(stock))
    for data in (stock, ours):
        assert evaluated(student, data, tmp_path) == pytest.approx((right, right))
        assert taught(data, student) == right


def test_an_exported_student_has_the_order_of_the_data(stock, ours, teacher, student, tmp_path):
    right = taught(ours, teacher)
    for number, data in enumerate((ours, stock)):
        out = tmp_path / str(number)
        export_fairseq.main(["--checkpoint", str(student), "--data", str(data), "--out", str(out)])
        assert read_checkpoint(str(out), "--checkpoint").class_names == class_names(data)
        # Without names, classes are taken in the order of the data.
        nameless(out / "model.pt")
        assert evaluated(out / "model.pt", data, tmp_path) == pytest.approx((right, right))


def nameless(path: Path, **args) -> Path:
    """Remove the class names from a checkpoint with stock fairseq's settings, and set `args` in it."""
    state = torch.load(path, weights_only=True)
    vars(state["args"]).update({"class_names": None, **args})
    torch.save(state, path)
    return path


def stock_checkpoint(path: Path, teacher: Path, data: Path) -> Path:
    """Write the teacher as stock fairseq's sentence_prediction saves it; return its path."""
    torch.save(stock_state(read_checkpoint(str(teacher), "--teacher")), path)
    return nameless(path, task="sentence_prediction", data=str(data))


@pytest.mark.parametrize("release", ["args", "cfg"])
def test_a_stock_checkpoint_has_the_order_of_its_own_data(stock, ours, teacher, tmp_path, caplog, release):
    right = taught(ours, teacher)
    given = stock_checkpoint(tmp_path / "model.pt", teacher, ours)
    if release == "cfg":
        state = torch.load(given, weights_only=True)
        task = Namespace(_name="sentence_prediction", data=str(ours))
        torch.save({**state, "args": None, "cfg": {"model": state["args"], "task": task}}, given)
    assert evaluated(given, stock, tmp_path) == pytest.approx((right, right))
    assert taught(stock, given) == taught(ours, given) == right
    assert "has no class names" not in caplog.text


@pytest.mark.slow
def test_a_checkpoint_of_unknown_order_is_a_warning_until_its_classes_are_named(
    stock, ours, teacher, tmp_path, caplog
):
    right = taught(ours, teacher)
    given = stock_checkpoint(tmp_path / "model.pt", teacher, tmp_path / "gone")
    sentence = f"--teacher {given} has no class names, and its training data is missing: assuming"
    assert taught(ours, given) == right
    assert taught(stock, given) < 0.4
    assert caplog.text.count(sentence) == 2
    caplog.clear()
    build(stock, given, "hidden_mse_learn", soft_weight=0.0)
    assert sentence not in caplog.text

    name_classes.main(["--checkpoint", str(given), "--class-names", ",".join(NLI)])
    assert taught(stock, given) == taught(ours, given) == right
    assert sentence not in caplog.text


@pytest.mark.slow
def test_names_that_cannot_be_matched_are_refused_if_they_are_used(stock, teacher, tmp_path):
    given = renamed(teacher, tmp_path / "model.pt", ("LABEL_0", "LABEL_1", "LABEL_2"))
    sentence = r"has the classes LABEL_0, LABEL_1, LABEL_2, but the data has \w+, .*: give .*name_classes"
    with pytest.raises(CannotStart, match=rf"--teacher \S+ {sentence}"):
        taught(stock, given)
    with pytest.raises(CannotStart, match=rf"--init-from \S+ {sentence}"):
        build(stock, given, "hidden_mse_learn", model={"init_head": True}, soft_weight=0.0)
    with pytest.raises(CannotStart, match=rf"--checkpoint \S+ {sentence}"):
        evaluated(given, stock, tmp_path)
    export = ["--checkpoint", str(given), "--data", str(stock), "--out", str(tmp_path / "out")]
    with pytest.raises(CannotStart, match=rf"Cannot export: --checkpoint \S+ {sentence}"):
        export_fairseq.main(export)
    build(stock, given, "hidden_mse_learn", soft_weight=0.0)


@pytest.mark.slow
def test_a_run_is_not_resumed_on_data_of_another_order(ours, teacher, student):
    with pytest.raises(CannotStart, match="was started with the classes .*, but .*: give data with"):
        trained(ours, student.parent, "--teacher", str(teacher), "--max-epoch", "2")


@pytest.mark.slow
def test_a_cache_belongs_to_the_order_of_its_data(stock, ours, teacher, tmp_path):
    def cached(data: Path, given: Path | None):
        task, _, _ = build(data, given, "kd", model=SIZES, task={"teacher_cache": str(tmp_path / "cache")})
        for split in ("train", "valid"):
            task.load_dataset(split)
        return task

    task = cached(stock, teacher)
    for split in ("train", "valid"):
        rows = len(task.dataset(split))
        task.teacher.store(batch(task, range(rows), split))
    task = cached(stock, None)
    sample = batch(task, range(60))
    logits = task.teacher.signals(sample, Wanted(logits=True)).logits
    assert accuracy(logits, sample["target"]) == taught(stock, teacher)
    for given in (teacher, None):
        with pytest.raises(CannotStart, match="has logits of the classes .*: give data with that order"):
            cached(ours, given)
