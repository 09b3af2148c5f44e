"""Patient KD: its weights, its conventions, where its students start, and the search of the paper."""

import re
import shlex

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.losses import kd, patience
from launcher.cli import read_arguments
from tests.tiny import ROOT, batch, build, pretraining, write_data, write_teacher

SEARCH = [ROOT / "configs" / "grids" / f"pkd_search_{step}.yaml" for step in (1, 2)]


def sides(task, student, criterion, sample):
    wanted = {"wanted": criterion.student_wanted, "classification_head_name": criterion.context.head}
    return student(**sample["net_input"], **wanted), task.teacher.signals(sample, criterion.teacher_wanted)


def test_the_unnormalized_term_by_hand(data, teacher):
    options = {"mapping": "1:2,2:3", "pkd_unnormalized": True, "hard_weight": 0.0, "soft_weight": 0.0}
    task, student, criterion = build(data, teacher, "pkd", **options)
    sample = batch(task, [0, 1, 2])
    each, _, logged = criterion(student, sample, reduce=False)

    s, t = sides(task, student, criterion, sample)
    layers = [patience(s.states[i][:, 0], t.states[j][:, 0], normalize=False) for i, j in ((1, 2), (2, 3))]
    assert_close(each, (layers[0] + layers[1]) / 2)
    assert_close(logged["term_patience"], each.sum())


@pytest.mark.parametrize(("kl", "classes"), [("sum", 1), ("mean", 2)])
def test_alpha_and_beta_are_the_weights_of_all_methods(data, teacher, kl, classes):
    alpha, beta = 0.7, 100.0
    weights = {"soft_weight": alpha, "hard_weight": 1 - alpha, "inter_weight": beta, "temperature": 10.0}
    task, student, criterion = build(data, teacher, "pkd", pkd_kl=kl, **weights)
    sample = batch(task, [0, 1, 2])
    each, _, _ = criterion(student, sample, reduce=False)

    s, t = sides(task, student, criterion, sample)
    hard = torch.nn.functional.cross_entropy(s.logits, sample["target"], reduction="none")
    soft = kd(s.logits, t.logits, 10.0) / classes
    own = patience(s.states[1][:, 0], t.states[2][:, 0])
    assert_close(each, (1 - alpha) * hard + alpha * soft + beta * own)


@pytest.mark.slow
def test_the_mean_over_words(text, lm_teacher):
    found = []
    for kl in ("sum", "mean"):
        task, student, criterion = pretraining(text, lm_teacher, "pkd", soft_weight=1.0, pkd_kl=kl)
        found.append(criterion(student, batch(task, [0, 1]))[2]["token_soft"])
    assert_close(found[0], found[1] * len(task.dictionary))


@pytest.mark.slow
def test_scores_have_no_classes_to_take_the_mean_over(tmp_path):
    data = write_data(tmp_path / "data", classes=1, regression=True)
    teacher = write_teacher(tmp_path / "model.pt", classes=1)
    task, student, criterion = build(data, teacher, "pkd", pkd_kl="mean")
    _, other, plain = build(data, teacher, "pkd")
    sample = batch(task, [0, 1])
    assert_close(criterion(student, sample)[0], plain(other, sample)[0])


def test_the_top_layer_is_left_to_the_logits(data, teacher):
    _, student, criterion = build(data, teacher, "pkd", hard_weight=0.0, soft_weight=0.0)
    assert criterion.patience.pairs == [(1, 2)]
    assert criterion.student_wanted.states == {1}
    assert criterion.teacher_wanted.first == {2}
    assert not student.encoder.sentence_encoder.layers[1].fc1.weight.requires_grad


def test_a_student_starts_from_the_first_layers_of_the_pre_trained_model(data, teacher, tmp_path):
    pretrained = write_teacher(tmp_path / "pretrained.pt", classes=None, seed=7, lm_head=True)
    source = torch.load(pretrained, weights_only=True)["model"]
    _, student, _ = build(data, teacher, "pkd", layers="0,1", model={"init_from": str(pretrained)})
    body = {name: value for name, value in student.state_dict().items() if name.startswith("encoder.")}
    assert len(body) > 30
    for name, value in body.items():
        assert torch.equal(value, source[name]), name


def commands(path) -> list[list[str]]:
    """Return the commands in a grid's header, with the first values of the shell's loops."""
    text = re.sub(r"^#\s*", "", path.read_text().split("\ntask:")[0], flags=re.M).replace("\\\n", " ")
    best = re.search(r'best="(.*)"', text)
    found = re.findall(r"python experiments.py (.*)", text)
    for name, value in {"best": best and best[1], "alpha": "0.2", "t": "5", "beta": "10"}.items():
        found = [re.sub(rf"\${name}\b", value or "", line) for line in found]
    return [shlex.split(re.sub(r"\$\(.*?1 - .*?\)\"\)", "0.8", line)) for line in found]


def test_the_search_of_the_paper():
    first, second = ([read_arguments("", line)[0] for line in commands(path)] for path in SEARCH)
    assert (len(first), len(second)) == (1, 2)
    for config in (grid.config for grid in first + second):
        assert (config.method, config.init, config.epochs) == (["pkd"], ["0,1,2,3,4,5"], 4)
        assert (config.lr, config.batch_size) == ([5e-5, 2e-5, 1e-5], [32])

    logits, normalized, unnormalized = *first, *second
    given = {"--init-from": "models/roberta.base", "--inter-weight": "0", "--pkd-kl": "mean"}
    searched = {"--soft-weight": "0.2", "--hard-weight": "0.8", "--temperature": "5"}
    assert logits.overrides == given | searched
    assert normalized.config.mapping == ["pkd-skip", "pkd-last"]
    assert normalized.overrides["--inter-weight"] == "10"
    assert unnormalized.overrides == normalized.overrides | {"--pkd-unnormalized": True}
    assert normalized.config.group != unnormalized.config.group
