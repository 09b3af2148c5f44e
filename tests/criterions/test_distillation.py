"""What holds for every criterion."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import register_criterion
from fairseq.nan_detector import NanDetector
from fairseq.registry import REGISTRIES
from torch.testing import assert_close

from fairseq_kd.criterions.config import OwnTermsConfig
from fairseq_kd.criterions.distillation import DistillationCriterion
from fairseq_kd.signals import Wanted
from tests.tiny import SHAPE, batch, build

METHODS = [
    ("kd", {}),
    ("hidden_mse_learn", {"mapping": "skip"}),
    ("hidden_mse_learn", {"mapping": "last"}),
    ("hidden_mse_learn", {"mapping": "combine"}),
    ("hidden_mse_token", {"mapping": "skip"}),
    ("hidden_mse_token", {"mapping": "combine"}),
    ("hidden_mse_learn", {"mapping": "combine-layers"}),
    ("att_kl_learn", {"mapping": "skip"}),
    ("att_kl_learn", {"mapping": "1:4"}),
    ("att_mse_learn", {"mapping": "last"}),
    ("att_mse_hidden_mse", {"mapping": "skip"}),
    ("att_kl_hidden_mse", {"mapping": "skip"}),
    ("minilm", {"mapping": "last"}),
    ("minilm", {"mapping": "skip"}),
    ("minilm_v2", {"mapping": "last"}),
    ("minilm_v2", {"mapping": "skip", "relation_heads": 2}),
    ("pkd", {"mapping": "pkd-skip"}),
    ("pkd", {"mapping": "1:4", "pkd_unnormalized": True, "pkd_kl": "mean"}),
    ("alp_kd", {}),
    ("alp_kd", {"alp_scope": "tokens", "alp_reach": "neighbours"}),
    ("hsk", {"mapping": "skip"}),
    ("hsk", {"mapping": "skip", "hsk_keep": "2l_3t_0.5h"}),
    (
        "hsk",
        {"mapping": "top3", "hsk_keep": "4t_0.3h", "hsk_length": "left", "hsk_width": "magnitude_sentence"},
    ),
    ("lad", {}),
    ("lad", {"lad_scope": "cls", "lad_form": "no"}),
    ("lad", {"lad_form": "reverse", "lad_partial": 1}),
]
# In training, CRD's loss depends on what came before (see transfer/test_contrastive.py); Pearson's on the rest of the batch.
ALL_METHODS = [*METHODS, ("crd", {"crd_negatives": 8}), ("pearson", {"mapping": "last"})]
ONE_EACH = list(dict(reversed(ALL_METHODS)).items())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_other_sentences_and_padding_change_neither_loss_nor_gradient(data, teacher, method, options):
    task, student, criterion = build(data, teacher, method, **options)
    parameters = [p for p in [*student.parameters(), *criterion.parameters()] if p.requires_grad]
    sample, indices = batch(task, [0, 3, 11]), [0, 3, 11]

    each, size, _ = criterion(student, sample, reduce=False)
    expected = torch.autograd.grad(each.sum(), parameters)
    alone = [criterion(student, batch(task, [index]), reduce=False)[0] for index in indices]
    assert size == len(indices)
    assert_close(each, torch.cat(alone), rtol=1e-5, atol=1e-5)

    tokens = sample["net_input"]["src_tokens"]
    sample["net_input"] = {
        "src_tokens": torch.cat([tokens, torch.ones(len(tokens), 5, dtype=torch.long)], dim=1),
        "padded": True,
    }
    padded, _, _ = criterion(student, sample)
    assert_close(padded, each.sum())
    for found, wanted in zip(torch.autograd.grad(padded, parameters), expected, strict=True):
        assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_stage_one_computes_no_logits(data, teacher):
    task, student, criterion = build(data, teacher, "att_kl_learn", hard_weight=0.0, soft_weight=0.0)
    _, _, logged = criterion(student, batch(task, [0, 1]))
    assert not criterion.student_wanted.logits
    assert not criterion.teacher_wanted.logits
    assert not {"term_hard", "confusion"} & logged.keys()


def test_terms_add_up_with_their_weights(data, teacher):
    weights = {"hard_weight": 0.3, "soft_weight": 0.7, "inter_weight": 2.0}
    task, student, criterion = build(data, teacher, "att_kl_hidden_mse", **weights)
    loss, _, logged = criterion(student, batch(task, [0, 1, 2]))

    own = logged["term_attention"] + logged["term_hidden"]
    assert_close(loss, 0.3 * logged["term_hard"] + 0.7 * logged["term_soft"] + 2.0 * own)


# A learned mixture does not start as the identity, nor do gates; attention mixes other layers in.
PAIRED = [entry for entry in METHODS if not entry[1].get("mapping", "combine").startswith("combine")]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), PAIRED)
def test_a_copy_of_the_teacher_has_nothing_to_learn(data, teacher, method, options):
    pairs = {"1:4": "4:4", "top3": "top4"}.get(options["mapping"], options["mapping"])
    alone = {"hard_weight": 0.0, "soft_weight": 0.0}
    task, student, criterion = build(data, teacher, method, layers="all", mapping=pairs, **alone)
    loss, _, _ = criterion(student, batch(task, range(8)))
    assert_close(loss, torch.zeros(()), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), ONE_EACH)
def test_a_student_learns_and_the_teacher_does_not(data, teacher, method, options):
    task, student, criterion = build(data, teacher, method, **options)
    parameters = [p for p in [*student.parameters(), *criterion.parameters()] if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    sample = batch(task, range(16), "train")
    before = {name: p.clone() for name, p in task.teacher.model.state_dict().items()}

    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss, size, _ = criterion(student, sample)
        (loss / size).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]

    assert not task.teacher.model.training
    assert not any(p.requires_grad for p in task.teacher.model.parameters())
    assert task.teacher.model not in [*student.modules(), *criterion.modules()]
    for name, value in task.teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), ALL_METHODS)
def test_only_wanted_signals_are_computed_and_only_their_parameters_trained(data, teacher, method, options):
    options = {**options, **({} if method == "kd" else {"hard_weight": 0.0, "soft_weight": 0.0})}
    task, student, criterion = build(data, teacher, method, **options)
    sample, wanted = batch(task, [0, 1, 2]), criterion.student_wanted
    signals = student(**sample["net_input"], wanted=wanted, classification_head_name=criterion.context.head)
    assert (signals.attention.keys(), signals.states.keys()) == (wanted.attention, wanted.states)
    if not method.startswith("att") and method not in ("minilm", "pearson"):
        assert not signals.attention

    criterion(student, sample)[0].backward()
    for name, parameter in [*student.named_parameters(), *criterion.named_parameters()]:
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_the_criterion_owns_a_parameter_and_no_more_than_it_learns(data, teacher):
    _, _, criterion = build(data, teacher, "kd")
    assert [name for name, _ in criterion.named_parameters()] == ["anchor"]

    _, _, criterion = build(data, teacher, "hidden_mse_learn", mapping="combine")
    shapes = {name: tuple(p.shape) for name, p in criterion.named_parameters()}
    assert shapes["hidden.mixture.projection.weight"] == (3 * SHAPE.width, 5 * SHAPE.width)


def test_bf16_autocast_stays_close_and_keeps_fp32_losses(data, teacher):
    task, student, criterion = build(data, teacher, "att_kl_hidden_mse")
    expected, _, _ = criterion(student, batch(task, range(8)))
    task, student, criterion = build(data, teacher, "att_kl_hidden_mse", task={"autocast": "bf16"})
    found, _, _ = criterion(student, batch(task, range(8)))

    assert found.dtype == torch.float32
    assert found.item() != expected.item()
    assert_close(found, expected, rtol=0.02, atol=0)


def test_a_loss_scale_is_limited_by_what_is_learned_alone(data, teacher):
    """A scaled loss of 8 sentences has a gradient of 65536 for what each is added to: more than fp16 holds."""
    task, student, criterion = build(data, teacher, "kd")
    student.half(), criterion.half()
    loss, size, _ = criterion(student, batch(task, range(8)))
    (loss * (65536 / size)).backward()
    assert criterion.anchor.grad.item() == 0


def test_fairseq_says_where_a_nan_comes_from(data, teacher, caplog):
    task, student, criterion = build(data, teacher, "att_kl_learn")
    student.encoder.sentence_encoder.layers[1].fc1.weight.data[0, 0] = float("nan")
    with caplog.at_level("WARNING"), NanDetector(student):
        loss, _, _ = criterion(student, batch(task, [0, 1]))
        loss.backward()
    assert "NaN detected in output of encoder.sentence_encoder.layers.1.fc1" in caplog.text


def test_fairseq_own_criterion_fine_tunes_the_student(data, teacher):
    task, student, _ = build(data, teacher, "kd")
    criterion = REGISTRIES["criterion"]["registry"]["sentence_prediction"](
        SimpleNamespace(classification_head_name=task.data.head, regression_target=False), task
    )
    loss, size, logged = criterion(student, batch(task, [0, 1, 2]))
    loss.backward()
    assert size == 3
    assert torch.isfinite(loss)
    assert "ncorrect" in logged


def test_a_method_without_a_teacher_has_no_weight_for_its_logits(data, teacher):
    @register_criterion("small_logits", dataclass=OwnTermsConfig)
    class SmallLogits(DistillationCriterion):
        needs_teacher = False

        def __init__(self, cfg, task) -> None:
            super().__init__(cfg, task)
            self.stages.want_for_own_terms(Wanted(logits=True), Wanted())

        def terms(self, student, teacher):
            return {"size": student.logits.square().mean(dim=1)}

    task, student, criterion = build(data, None, "small_logits", model={"init_from": str(teacher)})
    loss, _, logged = criterion(student, batch(task, [0, 1]))
    assert not criterion.teacher_wanted
    assert_close(loss.detach(), 0.5 * logged["term_hard"] + logged["term_size"])
    assert "term_soft" not in logged
