"""`scripts/prune.py`: pruning by importance."""

import pytest

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from scripts import name_classes, predict, prune
from tests.scripts.test_score_importance import score
from tests.tiny import train_command, train_here, write_teacher


@pytest.fixture
def model(tmp_path):
    return write_teacher(tmp_path / "teacher" / "model.pt")


@pytest.mark.slow
def test_pruned_model_predicts_and_trains(model, data, teacher, tmp_path, capsys):
    name_classes.main(["--checkpoint", str(model), "--class-names", "1,0"])
    score(model, data)  # the classes have the order of the data
    sizes = ("--layers", "2", "--heads", "2", "--ffn", "8", "--rank", "6")
    assert prune.main(["--checkpoint", str(model), *sizes, "--out", str(tmp_path / "pruned")]) == 0
    assert "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6" in capsys.readouterr().out

    small = read_checkpoint(str(tmp_path / "pruned"), "--checkpoint")
    assert (small.shape.rank, small.class_names) == (6, ("1", "0"))
    assert predict.main(["--checkpoint", str(tmp_path / "pruned"), "--data", str(data), "--cpu"]) == 0
    assert (tmp_path / "pruned" / "predictions" / "valid.npz").is_file()

    flags = ("--teacher", str(teacher), "--criterion", "hidden_mse_learn", "--max-update", "2")
    start = ("--init-from", str(tmp_path / "pruned"), "--init-head")
    rows = train_here(train_command(data, tmp_path / "run", *flags, *start))
    assert len([values for tag, values in rows if tag == "train_inner"]) == 2


def test_invalid_arguments_are_errors(model, data, tmp_path):
    given = ["--checkpoint", str(model), "--heads", "2", "--out", str(tmp_path / "pruned")]
    with pytest.raises(CannotStart, match="--importance .* does not exist"):
        prune.main(given)

    with pytest.raises(CannotStart, match="the sizes equal those of the model: give --layers"):
        prune.main([*given[:2], *given[4:]])

    score(model, data)
    with pytest.raises(CannotStart, match="--heads 9, but the model has 4"):
        prune.main([*given, "--heads", "9"])

    other = write_teacher(tmp_path / "other" / "model.pt", seed=5)
    scores = str(model.parent / "importance.safetensors")
    with pytest.raises(CannotStart, match="was computed for other weights than"):
        prune.main(["--checkpoint", str(other), *given[2:], "--importance", scores])

    (model.parent / "importance.safetensors").write_bytes(b"no")
    with pytest.raises(CannotStart, match="cannot be read"):
        prune.main(given)
    assert not (tmp_path / "pruned").exists()
