"""`scripts/name_classes.py`: adds class names to a checkpoint and leaves the rest as it is."""

import pytest
import torch

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from scripts.name_classes import main
from tests.tiny import write_teacher


def test_names_are_added_and_the_rest_stays(tmp_path, capsys):
    path = write_teacher(tmp_path / "model.pt")
    before = torch.load(path, weights_only=True)
    for names, replaced in (("no,yes", "none"), ("yes,no", "no, yes")):
        assert main(["--checkpoint", str(tmp_path), "--class-names", names]) == 0
        assert capsys.readouterr().out == f"{path}: classes {names.replace(',', ', ')} (before: {replaced})\n"
        assert read_checkpoint(str(path), "--teacher").class_names == tuple(names.split(","))

    after = torch.load(path, weights_only=True)
    assert after["cfg"]["model"].pop("class_names") == ["yes", "no"]
    assert after["cfg"] == before["cfg"]
    assert all(torch.equal(after["model"][name], value) for name, value in before["model"].items())
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_a_linked_checkpoint_stays_a_link(tmp_path):
    path, link = write_teacher(tmp_path / "model.pt"), tmp_path / "link.pt"
    link.symlink_to(path)
    assert main(["--checkpoint", str(link), "--class-names", "no,yes"]) == 0
    assert link.is_symlink()
    assert read_checkpoint(str(path), "--teacher").class_names == ("no", "yes")


@pytest.mark.parametrize(
    ("classes", "names", "sentence"),
    [
        (3, "a,b", r"--class-names a,b has 2 different names, but --checkpoint \S+ has 3 classes: give one"),
        (2, "a,a", "--class-names a has 1 different names"),
        (1, "a", r"--checkpoint \S+ is a regression model, which has no classes"),
        (None, "a,b", "has no classification head sentence_classification_head"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, classes, names, sentence):
    path = write_teacher(tmp_path / "model.pt", classes=classes)
    with pytest.raises(CannotStart, match=sentence):
        main(["--checkpoint", str(path), "--class-names", names])
    assert read_checkpoint(str(path), "--teacher").class_names == ()
