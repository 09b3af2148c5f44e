"""One command from raw text and a pre-trained model to a student and its predictions."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from scripts.convert_hf import import_model
from scripts.make_small_glue import write
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
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    call = [
        sys.executable,
        ROOT / "experiments.py",
        "--task",
        "sst2",
        "--method",
        "crd",
        "--stage",
        "one",
        "--cpu",
    ]
    call += [
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--teacher-epochs",
        "1",
        "--",
        "optimization.max_update=2",
        "--num-workers",
        "0",
    ]

    def run() -> str:
        done = subprocess.run(call, cwd=tmp_path, env=variables, capture_output=True, text=True)
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
