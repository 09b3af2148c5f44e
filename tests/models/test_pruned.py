"""Encoders with fewer heads than fill their width, narrow feed-forward blocks and factorised embeddings."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.convert.stock import unsupported_by_fairseq
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from fairseq_kd.models import roberta_student
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape, shape_of
from fairseq_kd.teachers.live import NO_DROPOUT
from tests.criterions.test_distillation import ALL_METHODS
from tests.tasks.test_training import checkpoint, losses
from tests.tiny import batch, build, train_command, train_here, weights, write_teacher, write_text

PRUNED = ModelShape(layers=2, width=16, ffn=8, heads=2, max_positions=40, head_width=4, rank=6)
SIZES = {
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 2,
    "encoder_head_dim": 4,
    "embedding_rank": 6,
}


def test_the_published_shape_has_14_million_parameters(monkeypatch):
    # BERT-base to 2 heads, 6 layers, ffn 768, embeddings of rank 128, with its classification head.
    monkeypatch.setattr(roberta_student, "init_bert_params", lambda module: None)
    shape = ModelShape(
        layers=6, width=768, ffn=768, heads=2, max_positions=512, segments=2, head_width=64, rank=128
    )
    with torch.device("meta"):
        model = RobertaStudent(Namespace(**NO_DROPOUT), shape, range(30522))
        model.register_classification_head("sentence_classification_head", 2)
    parameters = sum(p.numel() for p in model.parameters())
    # Two rows of positions more than BERT's 14,465,282: fairseq's padding index comes first.
    assert parameters == 14_465_282 + 2 * 768
    assert round(parameters / 1e6, 2) == 14.47


def test_its_shape_is_read_from_its_weights():
    config = {**PRUNED.config(), "encoder_head_dim": None, "embedding_rank": None}
    assert shape_of(config, weights(PRUNED)) == PRUNED
    assert str(PRUNED) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"


def test_factorised_embeddings_are_the_product_of_their_factors():
    factorised = weights(PRUNED, lm_head=True)
    body = "encoder.sentence_encoder.embed_"
    product = factorised[body + "tokens.weight"] @ factorised[body + "projection.weight"].T
    whole = {name: value for name, value in factorised.items() if "projection" not in name}
    whole |= {body + "tokens.weight": product, "encoder.lm_head.weight": product}
    factorised["encoder.lm_head.projection"] = factorised[body + "projection.weight"]

    tokens = torch.tensor([[0, 5, 6, 2], [0, 9, 2, 1]])
    found = []
    for shape, state in ((PRUNED, factorised), (replace(PRUNED, rank=0), whole)):
        model = RobertaStudent(Namespace(**NO_DROPOUT), shape, range(len(product)), lm_head=True).eval()
        model.load_state_dict({n: v for n, v in state.items() if "classification" not in n})
        found.append(model(tokens)[0])
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


HEAD_BY_HEAD = ("att_", "minilm", "pearson")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [*ALL_METHODS, ("sda", {})])
def test_it_learns_by_every_method(data, teacher, method, options):
    # Attention is compared head by head: there, the heads are as many as the teacher's, and narrower.
    heads = {"encoder_attention_heads": 4, "encoder_head_dim": 2}
    by_head = method.startswith(HEAD_BY_HEAD) and "relation_heads" not in options
    task, student, criterion = build(
        data, teacher, method, layers="random", model=SIZES | (heads if by_head else {}), **options
    )
    loss, _, _ = criterion(student, batch(task, [0, 3, 11]))
    loss.backward()
    for name, parameter in student.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name
    factors = student.encoder.sentence_encoder.embed_projection, student.encoder.sentence_encoder.embed_tokens
    assert all(factor.weight.grad.abs().max() > 0 for factor in factors)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"encoder_head_dim": 0, "encoder_attention_heads": 3},
            "--encoder-embed-dim 16 .*--encoder-attention-heads 3",
        ),
        ({"encoder_head_dim": 16}, "--encoder-head-dim 16 is out of range"),
        ({"embedding_rank": -1}, "--embedding-rank -1 is out of range"),
        ({"segments": 1}, "--segments 1 is invalid"),
        ({"attention_dropout": 1.5}, "--attention-dropout 1.5 is out of range"),
    ],
)
def test_sizes_and_dropout_out_of_range_are_refused(data, teacher, settings, message):
    with pytest.raises(CannotStart, match=message):
        build(data, teacher, "kd", layers="random", model=SIZES | settings)


@pytest.mark.slow
def test_it_trains_saves_resumes_reloads_and_predicts(data, teacher, tmp_path):
    pruned = write_teacher(tmp_path / "pruned.pt", PRUNED, seed=2)
    flags = ("--teacher", str(teacher), "--criterion", "kd", "--init-from", str(pruned), "--init-head")
    train_here(train_command(data, tmp_path / "run", *flags, "--max-epoch", "1"))
    rows = train_here(train_command(data, tmp_path / "run", *flags, "--max-epoch", "2"))
    assert len(losses(rows)) == 8

    last = str(tmp_path / "run" / "checkpoint_last.pt")
    assert checkpoint(tmp_path / "run")["cfg"]["model"]["embedding_rank"] == 6
    read = read_checkpoint(last, "--checkpoint")
    assert read.shape == PRUNED
    [(_, found)] = LoadedModel.of(read, data).predict(["valid"], torch.device("cpu"))
    accuracy = [values["valid_accuracy"] for tag, values in rows if tag == "valid"][-1]
    assert 100 * (found.logits.argmax(axis=1) == found.labels).mean() == pytest.approx(accuracy, abs=1e-3)


@pytest.mark.slow
def test_it_predicts_words_with_both_factors(tmp_path):
    text = write_text(tmp_path / "text")
    source = write_teacher(tmp_path / "pruned.pt", PRUNED, classes=None, lm_head=True)
    flags = ("--criterion", "kd", "--hard-weight", "1", "--soft-weight", "0", "--init-from", str(source))
    flags += ("--tokens-per-sample", "24", "--max-epoch", "2")
    command = train_command(text, tmp_path / "run", *flags, task="masked_lm_kd")
    found = losses(train_here(command))
    assert found[-1] < found[0]
    saved = checkpoint(tmp_path / "run")["model"]
    factors = (
        "encoder.sentence_encoder.embed_tokens.weight",
        "encoder.sentence_encoder.embed_projection.weight",
    )
    assert torch.equal(saved["encoder.lm_head.weight"], saved[factors[0]])
    assert torch.equal(saved["encoder.lm_head.projection"], saved[factors[1]])
    start = read_checkpoint(str(source), "--init-from").weights
    assert all(not torch.equal(saved[factor], start[factor]) for factor in factors)


def test_stock_fairseq_cannot_have_it(tmp_path):
    pruned = read_checkpoint(str(write_teacher(tmp_path / "pruned.pt", PRUNED)), "--checkpoint")
    [reason] = unsupported_by_fairseq(pruned, pairs=False, approximate=False)
    assert "is pruned (2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6)" in reason


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hidden_mse_learn", "hidden_mse_token", "pkd", "alp_kd", "lad"])
def test_a_narrow_student_from_a_checkpoint_learns_from_hidden_states(data, teacher, tmp_path, method):
    # As TinyBERT does: 4 layers of 312, pre-trained by somebody else.
    tiny = write_teacher(
        tmp_path / "tiny.pt", ModelShape(layers=4, width=12, ffn=20, heads=4, max_positions=40), classes=None
    )
    model = {"init_from": str(tiny)}
    task, student, criterion = build(data, teacher, method, layers="all", model=model)
    assert student.shape.width == 12
    loss, _, _ = criterion(student, batch(task, [0, 3, 11]))
    loss.backward()
    learned = [p for name, p in criterion.named_parameters() if ".widen." in name]
    assert learned
    assert all(p.grad.abs().max() > 0 for p in learned)
