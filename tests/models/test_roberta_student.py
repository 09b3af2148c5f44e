"""Students: what they return and freeze, and those with fewer heads, narrow layers and factorised embeddings."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.convert.stock import unsupported_by_fairseq
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.loaded_model import LoadedModel
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers.live import NO_DROPOUT
from tests.criterions.test_distillation import ALL_METHODS
from tests.models.test_encoder import EVERYTHING, HEAD, TOKENS, dictionary, model
from tests.models.test_shape import PRUNED
from tests.runs import checkpoint, losses, values_of
from tests.tiny import batch, build, train_command, train_here, weights, write_teacher

SIZES = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 8, "encoder_attention_heads": 2,
         "encoder_head_dim": 4, "embedding_rank": 6}  # fmt: skip


def test_without_wanted_it_returns_what_fairseq_asks_for():
    student = model()
    logits, _ = student(TOKENS, classification_head_name=HEAD)
    features, _ = student(TOKENS, features_only=True)
    signals = student(TOKENS, wanted=EVERYTHING, classification_head_name=HEAD)
    assert_close(logits, signals.logits)
    assert_close(features, signals.states[4])


def test_unreached_parameters_are_frozen():
    student = model()
    frozen = student.freeze_unreached(Wanted.of(attention=[2]), HEAD)

    trainable = {name for name, p in student.named_parameters() if p.requires_grad}
    layers = "encoder.sentence_encoder.layers."
    assert layers + "0.fc2.weight" in trainable
    assert layers + "1.self_attn.k_proj.weight" in trainable
    assert {layers + "1.self_attn.v_proj.weight", layers + "2.fc1.weight"} <= set(frozen)
    assert "classification_heads.sentence_classification_head.dense.weight" in frozen


def test_a_new_head_is_initialised_as_fairseq_does():
    shape = ModelShape(layers=1, width=64, ffn=64, heads=4)
    student = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary())
    student.register_classification_head(HEAD, 3)
    head = student.classification_heads[HEAD]
    assert head.dense.weight.abs().max() <= 1 / 64**0.5  # uniform
    assert head.dense.weight.std().item() == pytest.approx((1 / 64**0.5) / 3**0.5, rel=0.05)
    assert student.encoder.sentence_encoder.layers[0].fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)


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
        student = RobertaStudent(Namespace(**NO_DROPOUT), shape, range(len(product)), lm_head=True).eval()
        student.load_state_dict({n: v for n, v in state.items() if "classification" not in n})
        found.append(student(tokens)[0])
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


HEAD_BY_HEAD = ("att_", "minilm", "pearson")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [*ALL_METHODS, ("sda", {})])
def test_it_learns_by_every_method(data, teacher, method, options):
    # Attention is compared head by head: there, the heads are as many as the teacher's, and narrower.
    heads = {"encoder_attention_heads": 4, "encoder_head_dim": 2}
    by_head = method.startswith(HEAD_BY_HEAD) and "relation_heads" not in options
    model = SIZES | (heads if by_head else {})
    task, student, criterion = build(data, teacher, method, layers="random", model=model, **options)
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
    command = train_command(data, tmp_path / "run", *flags)
    train_here(command)
    rows = train_here([*command, "--max-epoch", "2"])
    assert len(losses(rows)) == 8

    last = str(tmp_path / "run" / "checkpoint_last.pt")
    assert checkpoint(tmp_path / "run")["cfg"]["model"]["embedding_rank"] == 6
    read = read_checkpoint(last, "--checkpoint")
    assert read.shape == PRUNED
    [(_, found)] = LoadedModel.of(read, data).predict(["valid"], torch.device("cpu"))
    accuracy = values_of(rows, "valid")[-1]["valid_accuracy"]
    assert 100 * (found.logits.argmax(axis=1) == found.labels).mean() == pytest.approx(accuracy, abs=1e-3)


@pytest.mark.slow
def test_it_predicts_words_with_both_factors(text, tmp_path):
    source = write_teacher(tmp_path / "pruned.pt", PRUNED, classes=None, lm_head=True)
    flags = "--criterion kd --hard-weight 1 --soft-weight 0 --tokens-per-sample 24 --max-epoch 2"
    command = train_command(text, tmp_path / "run", flags, "--init-from", str(source), task="masked_lm_kd")
    found = losses(train_here(command))
    assert found[-1] < found[0]
    saved = checkpoint(tmp_path / "run")["model"]
    factors = [f"encoder.sentence_encoder.embed_{name}.weight" for name in ("tokens", "projection")]
    assert torch.equal(saved["encoder.lm_head.weight"], saved[factors[0]])
    assert torch.equal(saved["encoder.lm_head.projection"], saved[factors[1]])
    start = read_checkpoint(str(source), "--init-from").weights
    assert all(not torch.equal(saved[factor], start[factor]) for factor in factors)


def test_stock_fairseq_cannot_have_it(tmp_path):
    pruned = read_checkpoint(str(write_teacher(tmp_path / "pruned.pt", PRUNED)), "--checkpoint")
    [reason] = unsupported_by_fairseq(pruned, pairs=False, approximate=False)
    assert "is pruned (2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6)" in reason
