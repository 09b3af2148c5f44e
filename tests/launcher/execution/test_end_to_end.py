"""From raw text, or a table of sentences, and a pre-trained model to a teacher, students and their predictions."""

import csv
import json

import numpy as np
import pytest

from scripts.convert_hf import import_model
from scripts.make_small_glue import write
from tests import processes
from tests.test_readme import hugging_face_folder
from tests.tiny import ROOT


@pytest.mark.slow
def test_one_command_makes_data_teacher_and_student(tmp_path):
    write(tmp_path / "glue")
    train = tmp_path / "glue" / "SST-2" / "train.tsv"
    train.write_text(
        "".join(train.read_text().splitlines(keepends=True)[:161])
    )  # five updates for the teacher
    hugging_face_folder(tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "models" / "tiny")
    call = ["python", ROOT / "experiments.py", "--task", "sst2", "--method", "crd", "--stage", "one"]
    call += ["--cpu", "--trainer", processes.programs() / "fairseq-train"]
    call += ["--seeds", "1", "--epochs", "1", "--teacher-epochs", "1"]
    call += ["--", "optimization.max_update=2", "--num-workers", "0"]

    def run() -> str:
        done = processes.run(call, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    output = run()
    assert "| SST-2 | crd | 0,1,2 | - | one | accuracy | " in output
    assert "no predictions" not in output

    meta = json.loads((tmp_path / "data" / "SST-2-bin" / "meta.json").read_text())
    results = list((tmp_path / "runs").glob("*/*/result.json"))
    assert len(results) == 2
    for result in results:
        predictions = np.load(result.parent / "predictions" / "valid.npz", allow_pickle=False)
        assert predictions["logits"].shape == (meta["splits"]["valid"]["sentences"], 2)
        right = 100 * (predictions["logits"].argmax(axis=1) == predictions["labels"]).mean()
        assert right == pytest.approx(json.loads(result.read_text())["best"], abs=0.01)

    assert output.splitlines()[-6:-3] == run().splitlines()[-6:-3]  # all exists: the same table


@pytest.mark.slow
def test_a_task_of_the_user_is_trained_like_one_of_glue(tmp_path):
    write(tmp_path / "glue")
    hugging_face_folder(tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "models" / "tiny")
    header, *lines = (tmp_path / "glue/SST-2/train.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines[:200]]
    names = {"0": "bad", "1": "good"}
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "mood"], *([text, names[label]] for text, label in rows)])
    own = "--name reviews --train-file reviews.csv --text text --label mood --out data".split()
    own += ["--split-dev", "0.2", "--limit-train", "80", "--keep-unlabelled", "--encoder-dir", "models/tiny"]
    call = "--task reviews --method none,kd --cpu --seeds 1 --epochs 1 --teacher-epochs 1".split()
    call += ["--trainer", processes.programs() / "fairseq-train"]
    call += ["--unlabelled-subset", "unlabelled", "--", "--num-workers", "0"]
    for command in (["-m", "preprocess.custom", *own], [ROOT / "experiments.py", *call]):
        done = processes.run(["python", *command], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    splits = json.loads((tmp_path / "data/reviews-bin/meta.json").read_text())["splits"]
    assert {name: split["sentences"] for name, split in splits.items()} == {
        "train": 80,
        "valid": 40,
        "unlabelled": 80,
    }
    for path in (tmp_path / "runs").glob("*/*/result.json"):
        predictions = np.load(path.parent / "predictions" / "valid.npz", allow_pickle=False)
        right = 100 * (predictions["logits"].argmax(axis=1) == predictions["labels"]).mean()
        assert right == pytest.approx(json.loads(path.read_text())["best"], abs=0.01)
    results = {
        path.parent.name.split("-")[1]: path.parent
        for path in (tmp_path / "runs/default").glob("*/result.json")
    }
    assert results.keys() == {"none", "kd"}
    sizes = {
        name: json.loads((folder / "spec.json").read_text())["updates"] for name, folder in results.items()
    }
    assert sizes == {"none": 3, "kd": 5}  # 80 and 160 sentences in batches of 32
    assert "train + unlabelled: 160 sentences" in (results["kd"] / "log.txt").read_text()
    assert "train: 80 sentences" in (results["none"] / "log.txt").read_text()
