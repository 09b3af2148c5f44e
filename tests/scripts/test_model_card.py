"""The model card of an export: model, scores, cost and settings, without paths of the machine."""

import json
from dataclasses import replace

import pytest
import yaml

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from scripts.model_card import model_card
from tests.tiny import distil_command, train_here

pytestmark = pytest.mark.slow

LOAD = 'transformers.AutoModel.from_pretrained("DIR")'


def card_of(checkpoint, labels=("bad", "good"), scale=None, comparison=None) -> str:
    return model_card("tiny", checkpoint, labels, scale, LOAD, comparison)


@pytest.fixture(scope="module")
def checkpoint(data, teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "student"
    train_here(distil_command(data, folder, teacher, "att_kl_learn", "--max-update", "2"))
    scores = {"valid": {"accuracy": 81.25, "f1": 80.0}}
    (folder / "result.json").write_text(json.dumps({"at_best": scores}))
    (folder / "environment.json").write_text(json.dumps({"versions": {"torch": "2.9"}, "commit": "abc"}))
    return read_checkpoint(str(folder), "--checkpoint")


def test_the_card_names_model_classes_scores_and_settings_but_no_paths(checkpoint, teacher):
    card = card_of(checkpoint)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["library_name"], head["pipeline_tag"]) == ("transformers", "text-classification")
    assert "A student with 2 layers, width 16, 4 heads, ffn 32, fine-tuned on TINY" in card
    assert f"distilled from `{teacher.parent.name}` with the method `att_kl_learn`" in card
    assert "Classes: 0 bad, 1 good." in card
    assert "| valid | accuracy | 81.25 |" in card
    assert "Settings: batch size 8; learning rate 0.001; epochs 1; updates 2; seed 1." in card
    assert "Versions: torch 2.9, fairseq_kd at commit abc." in card
    assert LOAD in card
    assert str(teacher.parent.parent) not in card
    assert str(checkpoint.path.parent) not in card


def test_a_comparison_takes_the_place_of_the_scores(checkpoint, tmp_path):
    with pytest.raises(CannotStart, match="--comparison .* has no comparison.md: make it with"):
        card_of(checkpoint, comparison=tmp_path)
    (tmp_path / "comparison.md").write_text("| model | teacher | another student |\n")
    with pytest.raises(CannotStart, match="--comparison .* has no column of student: "):
        card_of(checkpoint, comparison=tmp_path)
    above = checkpoint.path.parts[-3]
    (tmp_path / "comparison.md").write_text(f"| model | teachers/student | {above}/student |\n")
    assert "/student |" in card_of(checkpoint, comparison=tmp_path)
    (tmp_path / "comparison.md").write_text("| model | teacher | student |\n")
    card = card_of(checkpoint, comparison=tmp_path)
    assert "| model | teacher | student |" in card
    assert "| valid | accuracy |" not in card


def test_scores_are_those_of_the_best_checkpoint_only(checkpoint):
    last = read_checkpoint(str(checkpoint.path.with_name("checkpoint_last.pt")), "--checkpoint")
    card = card_of(last)
    assert "## Scores" not in card
    assert "Versions: torch 2.9" in card


def test_uncommitted_changes_of_the_code_are_stated(checkpoint):
    path = checkpoint.path.with_name("environment.json")
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"modified": True}))
    assert "at commit abc with uncommitted changes." in card_of(checkpoint, ())
    path.write_text(before)


def test_several_workers_and_accumulated_batches_are_settings(checkpoint):
    run = checkpoint.run | {
        "distributed_training": {"distributed_world_size": 2},
        "optimization": {**checkpoint.run["optimization"], "update_freq": [4]},
    }
    card = card_of(replace(checkpoint, run=run))
    assert "Settings: batch size 8; workers 2; batches per update 4; learning rate 0.001;" in card


def test_classes_named_by_their_numbers_are_listed_once_and_regression_states_its_scale(checkpoint):
    assert "Classes: 0, 1." in card_of(checkpoint, ("0", "1"))
    assert "times 5 it is the score of TINY" in card_of(checkpoint, (), 5.0)
