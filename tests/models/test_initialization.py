from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from tests.tiny import SHAPE, batch, build, weights, write_data, write_teacher

PREFIX = "encoder.sentence_encoder."


def test_layers_are_copied_in_the_order_given(data, teacher):
    _, student, _ = build(data, teacher, "kd", layers="3,1")
    source, copied = weights(SHAPE), student.state_dict()

    for name in ("embed_tokens.weight", "embed_positions.weight", "layernorm_embedding.weight"):
        assert torch.equal(copied[PREFIX + name], source[PREFIX + name])
    for ours, theirs in enumerate([3, 1]):
        for name in ("self_attn.q_proj.weight", "fc2.bias", "final_layer_norm.weight"):
            ours_name, theirs_name = f"{PREFIX}layers.{ours}.{name}", f"{PREFIX}layers.{theirs}.{name}"
            assert torch.equal(copied[ours_name], source[theirs_name])


@pytest.mark.parametrize("init_head", [False, True])
def test_the_head_is_copied_on_request(data, teacher, init_head):
    task, student, _ = build(data, teacher, "kd", model={"init_head": init_head})
    name = "classification_heads.sentence_classification_head.out_proj.weight"
    assert torch.equal(student.state_dict()[name], weights(SHAPE)[name]) == init_head
    assert task.initialized[-1].endswith("model.pt" if init_head else "new")


def test_sizes_come_from_the_source(data, teacher):
    _, student, _ = build(data, teacher, "kd", layers="0,2,3")
    assert student.shape == ModelShape(layers=3, width=16, ffn=32, heads=4, max_positions=40)


def test_a_random_student_takes_unset_sizes_from_the_teacher(data, teacher):
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 12}
    task, student, _ = build(data, teacher, "kd", layers="random", model=sizes)
    assert student.shape == ModelShape(layers=1, width=8, ffn=12, heads=4, max_positions=40)
    assert task.initialized == ["everything: random"]


def test_another_checkpoint_can_be_the_source(data, teacher, tmp_path):
    other = write_teacher(tmp_path / "other.pt", seed=7)
    _, student, _ = build(data, teacher, "kd", model={"init_from": str(other)})
    name = PREFIX + "layers.0.fc1.weight"
    assert torch.equal(student.state_dict()[name], weights(SHAPE, seed=7)[name])


@pytest.mark.parametrize(
    ("layers", "model", "sentence"),
    [
        ("0,4", {}, r"--init-layers 0,4 names layer 4.* 4 layers.*use 0 to 3"),
        ("0,x", {}, r"--init-layers '0,x' is not a list of layer numbers"),
        ("0,1", {"encoder_layers": 3}, r"has 3 layers .* but --init-layers 0,1 names 2"),
        ("0,1", {"encoder_embed_dim": 8}, r"has --encoder-embed-dim 8 .* has 16"),
        ("0,1", {"encoder_attention_heads": 2}, r"has --encoder-attention-heads 2 .* has 4"),
        ("random", {}, r"--init-layers random does not set the number of layers: give --encoder-layers"),
        (
            "random",
            {"encoder_layers": 2, "encoder_embed_dim": 10},
            "--encoder-embed-dim 10 is not a multiple of .* 4",
        ),
        ("0,1", {"init_from": "nowhere.pt"}, r"--init-from nowhere\.pt does not exist"),
        ("random", {"init_head": True}, "--init-head .*: give --init-from"),
    ],
)
def test_a_mismatch_is_an_error(data, teacher, layers, model, sentence):
    with pytest.raises(CannotStart, match=sentence):
        build(data, teacher, "kd", layers=layers, model=model)


def test_a_source_without_a_needed_tensor_is_refused(data, tmp_path):
    path = write_teacher(tmp_path / "model.pt", classes=None)
    with pytest.raises(CannotStart, match="--init-head: .* has no classification head with the"):
        build(data, path, "kd", soft_weight=0.0, hard_weight=1.0, model={"init_head": True})

    state = torch.load(path, weights_only=True)
    del state["model"][PREFIX + "layers.1.fc2.bias"]
    torch.save(state, path)
    with pytest.raises(CannotStart, match=r"has no encoder.*layers\.1\.fc2\.bias, which the student needs"):
        build(data, path, "kd", layers="0,1", soft_weight=0.0)


ALONE = {"layers": "random", "soft_weight": 0.0}


@pytest.mark.parametrize(
    ("layers", "model", "found"),
    [
        ("random", {}, "incomplete: --encoder-layers, --encoder-embed-dim"),
        ("0,1", {}, "--init-layers 0,1 .*: give --init-from or --teacher"),
        ("random", {"_name": "roberta_student_4x312", "init_head": True}, "--init-head .*: give --init-from"),
    ],
)
def test_without_any_source_the_sizes_must_be_given_and_nothing_is_copied(data, layers, model, found):
    with pytest.raises(CannotStart, match=found):
        build(data, None, "kd", layers=layers, soft_weight=0.0, model=model)


def test_a_student_without_source_is_made_for_the_data(tmp_path):
    data = write_data(tmp_path / "data", pair_format="bert")
    _, student, _ = build(data, None, "kd", model={"_name": "roberta_student_4x312"}, **ALONE)
    sizes = ModelShape(layers=4, width=312, ffn=1200, heads=12)
    assert student.shape == replace(sizes, pair_format="bert", segments=2, layernorm_eps=1e-12)


def test_a_student_of_a_pre_layernorm_teacher_is_one_too(data, tmp_path):
    shape = replace(SHAPE, pre_layernorm=True, bare_embeddings=True)
    teacher = write_teacher(tmp_path / "model.pt", shape)
    task, student, criterion = build(data, teacher, "att_kl_hidden_mse", layers="0,1")
    assert student.shape == replace(shape, layers=2)
    encoder = student.encoder.sentence_encoder
    assert_close(encoder.layer_norm.weight, task.teacher.model.encoder.sentence_encoder.layer_norm.weight)
    loss, _, _ = criterion(student, batch(task, [0, 1]))
    loss.backward()
    assert encoder.layer_norm.weight.grad is not None

    with pytest.raises(CannotStart, match="--encoder-normalize-before"):
        build(data, write_teacher(tmp_path / "post.pt"), "kd", model={"encoder_normalize_before": True})
