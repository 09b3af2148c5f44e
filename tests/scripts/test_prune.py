"""`scripts/score_importance.py` and `scripts/prune.py`: pruning by two commands."""

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.pruning import scored_names
from scripts import name_classes, predict, prune, score_importance
from tests.tiny import SHAPE, batch, build, train_command, train_here, write_teacher


@pytest.fixture
def model(tmp_path):
    return write_teacher(tmp_path / "teacher" / "model.pt")


def score(model, data, *flags) -> int:
    given = ["--checkpoint", str(model), "--data", str(data), "--cpu", *map(str, flags)]
    return score_importance.main(given)


@pytest.mark.slow
def test_importance_is_the_sum_over_mini_batches(model, data):
    assert score(model.parent, data, "--batch-size", 24) == 0
    found = load_file(model.parent / "importance.safetensors")
    assert set(found) == set(scored_names(SHAPE.layers))

    task, student, criterion = build(
        data, model, "kd", layers="all", model={"init_head": True}, hard_weight=1.0, soft_weight=0.0
    )
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    weights = dict(student.named_parameters())
    sums = {name: torch.zeros_like(weights[name]) for name in found}
    for indices in order.split(24):
        student.zero_grad()
        loss, size, _ = criterion(student, batch(task, indices.tolist(), "train"))
        (loss / size).backward()
        for name in sums:
            sums[name] += weights[name].grad.abs()
    for name, total in sums.items():
        assert_close(found[name], (total * weights[name]).abs().detach(), rtol=1e-4, atol=1e-7)


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
