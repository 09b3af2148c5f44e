"""One command from raw text and a pre-trained model to a student and its predictions; a pre-trained student fine-tuned."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import experiments
from scripts import predict
from scripts.convert_hf import import_model
from scripts.make_small_glue import write
from tests.test_readme import hugging_face_folder
from tests.tiny import ROOT, train_command, train_here, write_data, write_teacher, write_text


@pytest.mark.slow
def test_one_command_makes_data_teacher_and_student(tmp_path):
    write(tmp_path / "glue")
    train = tmp_path / "glue" / "SST-2" / "train.tsv"
    train.write_text(
        "".join(train.read_text().splitlines(keepends=True)[:321])
    )  # ten updates for the teacher
    hugging_face_folder(tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "models" / "tiny")
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def python(*words) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    call = [
        ROOT / "experiments.py",
        "--task",
        "sst2",
        "--method",
        "crd",
        "--stage",
        "one",
        "--seeds",
        "1",
        "--cpu",
    ]
    call += [
        "--epochs",
        "1",
        "--teacher-epochs",
        "1",
        "--",
        "optimization.max_update=3",
        "+dataset.num_workers=0",
    ]
    output = python(*call)
    assert "| SST-2 | crd | 0,1,2 | - | one | accuracy | " in output
    assert "no predictions" not in output

    meta = json.loads((tmp_path / "data" / "SST-2-bin" / "meta.json").read_text())
    for result in (tmp_path / "runs").glob("*/*/result.json"):
        predictions = np.load(result.parent / "predictions" / "valid.npz", allow_pickle=False)
        assert predictions["logits"].shape == (meta["splits"]["valid"]["sentences"], 2)
        right = 100 * (predictions["logits"].argmax(axis=1) == predictions["labels"]).mean()
        assert right == pytest.approx(json.loads(result.read_text())["best"], abs=0.01)
    assert len(list((tmp_path / "runs").glob("*/*/result.json"))) == 2

    assert output.splitlines()[-6:-3] == python(*call).splitlines()[-6:-3]  # all is there: the same table


@pytest.mark.slow
def test_a_student_pretrained_on_words_is_fine_tuned_beside_the_same_without(tmp_path, capsys):
    text = write_text(tmp_path / "text")
    teacher = write_teacher(tmp_path / "lm" / "model.pt", classes=None, lm_head=True)
    pretraining = ["--tokens-per-sample", "24", "--teacher", str(teacher), "--criterion", "minilm"]
    pretraining += ["--hard-weight", "1", "--init-layers", "0,3"]
    train_here(train_command(text, tmp_path / "pre", *pretraining, task="masked_lm_kd"))
    data = write_data(tmp_path / "RTE-bin")
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "task": "RTE"}))

    models = [f"pre={tmp_path}/pre", f"cut={teacher}@0,3", f"random={tmp_path}/pre@random:2"]
    call = ["--task", "rte", "--stage", "finetune", "--models", *models, "--lr", "1e-2", "--batch-size", "8"]
    call += ["--data", str(data), "--out", str(tmp_path / "runs"), "--seeds", "1", "--epochs", "1", "--cpu"]
    capsys.readouterr()
    assert experiments.main([*call, "--dry-run", "--", "--num-workers", "0"]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if "--num-workers" in line]

    started = {}
    for command in commands:
        begin = next(at for at, word in enumerate(command) if word.endswith("fairseq-train"))
        rows = train_here(command[begin:])
        assert [tag for tag, _ in rows].count("valid") == 1
        run = Path(command[command.index("--save-dir") + 1])
        weights = torch.load(run / "checkpoint_best.pt", weights_only=True)["model"]
        assert not [name for name in weights if "lm_head" in name]
        assert predict.main(["--checkpoint", str(run), "--data", str(data), "--cpu"]) == 0
        assert np.load(run / "predictions" / "valid.npz")["logits"].shape == (40, 2)
        started[run.name.split("-")[2]] = weights["encoder.sentence_encoder.embed_tokens.weight"]
    assert list(started) == ["pre", "cut", "random"]

    # Fine-tuning turns no word that its sentences do not have: such words still point where those of the origin do.
    pretrained = torch.load(tmp_path / "pre" / "checkpoint_best.pt", weights_only=True)["model"]
    origins = [pretrained, torch.load(teacher, weights_only=True)["model"]]
    unseen = slice(44, 64)
    words = [origin["encoder.sentence_encoder.embed_tokens.weight"][unseen] for origin in origins]
    as_in = {
        name: [bool((normalize(found[unseen]) - normalize(word)).norm() < 1e-4) for word in words]
        for name, found in started.items()
    }
    assert as_in == {"pre": [True, False], "cut": [False, True], "random": [False, False]}
