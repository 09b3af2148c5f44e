from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel, base_architecture
from fairseq.utils import get_activation_fn, get_available_activation_fns
from torch.testing import assert_close

from fairseq_kd.models.checkpoint import upgrade_state_dict
from fairseq_kd.models.encoder import activation, segment_ids
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape, shape_of
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers.live import NO_DROPOUT
from tests.tiny import SHAPE, SYMBOLS, weights

EVERYTHING = Wanted.of(logits=True, states=range(5), attention=range(1, 5), projections=range(1, 5))
HEAD = "sentence_classification_head"
TOKENS = torch.tensor([[0, 5, 6, 2, 2, 7, 8, 2], [0, 9, 2, 2, 11, 2, 1, 1], [0, 4, 2, 1, 1, 1, 1, 1]])


def dictionary() -> Dictionary:
    words = Dictionary()
    for symbol in [*SYMBOLS, "<mask>"]:
        words.add_symbol(symbol)
    return words


def model(shape: ModelShape = SHAPE) -> RobertaStudent:
    student = RobertaStudent(Namespace(**NO_DROPOUT), shape, dictionary())
    student.register_classification_head(HEAD, 3)
    student.load_state_dict(weights(shape, classes=3))
    return student.eval()


@pytest.mark.parametrize("pre_layernorm", [False, True])
@pytest.mark.parametrize("bare_embeddings", [False, True])
def test_states_and_logits_equal_fairseq_roberta(pre_layernorm, bare_embeddings):
    args = Namespace(encoder_normalize_before=pre_layernorm, layernorm_embedding=not bare_embeddings,
                     encoder_layers=4, encoder_embed_dim=16, encoder_ffn_embed_dim=32, encoder_attention_heads=4,
                     max_positions=40)  # fmt: skip
    base_architecture(args)
    stock = RobertaModel.build_model(args, Namespace(source_dictionary=dictionary()))
    stock.register_classification_head(HEAD, num_classes=3)
    for parameter in stock.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    stock.encoder.lm_head.weight = stock.encoder.sentence_encoder.embed_tokens.weight
    stock.eval()

    ours = model(replace(SHAPE, pre_layernorm=pre_layernorm, bare_embeddings=bare_embeddings))
    state = upgrade_state_dict(stock.state_dict())
    assert shape_of(vars(args), state) == ours.shape
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    signals = ours(TOKENS, wanted=EVERYTHING, classification_head_name=HEAD)

    _, extra = stock(TOKENS, features_only=True, return_all_hiddens=True)
    logits, _ = stock(TOKENS, classification_head_name=HEAD)
    features, _ = stock(TOKENS, features_only=True)
    found, _ = ours(TOKENS, features_only=True)
    assert_close(found[signals.mask], features[signals.mask], rtol=1e-4, atol=1e-5)
    assert_close(signals.logits, logits, rtol=1e-4, atol=1e-5)
    for number, state in enumerate(extra["inner_states"]):
        real = signals.mask
        assert_close(signals.states[number][real], state.transpose(0, 1)[real], rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing():
    student = model()
    together = student(TOKENS, wanted=EVERYTHING, classification_head_name=HEAD)
    for row, length in enumerate([8, 6, 3]):
        sentence = TOKENS[row : row + 1, :length]
        alone = student(sentence, wanted=EVERYTHING, padded=False, classification_head_name=HEAD)
        assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-5)
        for number in range(1, 5):
            found = together.attention[number][row, :, :length, :length]
            assert_close(found, alone.attention[number][0], rtol=1e-4, atol=1e-5)


def test_a_padded_batch_gives_the_outputs_and_gradients_of_single_sentences(monkeypatch):
    """Several threads compute a padded batch, one thread each sentence alone."""
    results = []
    for threads in (1, 8):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        student = model()
        logits = student(TOKENS, wanted=Wanted(logits=True), classification_head_name=HEAD).logits
        logits.square().sum().backward()
        results.append([logits, *(p.grad for p in student.parameters() if p.grad is not None)])
    for alone, padded in zip(*results, strict=True):
        assert_close(alone, padded, rtol=1e-4, atol=1e-6)


def test_scores_are_those_that_attention_uses():
    student = model()
    signals = student(TOKENS, wanted=Wanted.of(attention=[2], projections=[2], states=[2]))
    q, k = signals.queries[2], signals.keys[2]
    assert q.shape == (3, 4, 8, 4)
    assert_close(signals.attention[2], q @ k.transpose(-2, -1) / 2.0)

    fused = student(TOKENS, wanted=Wanted.of(states=[2]))
    assert_close(signals.states[2][signals.mask], fused.states[2][fused.mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("wanted", "whole_layers", "first_halves"),
    [
        (Wanted.of(states=[0]), 0, 0),
        (Wanted.of(states=[0, 2]), 2, 2),
        (Wanted.of(attention=[3]), 2, 3),
        (Wanted.of(attention=[1], states=[3]), 3, 3),
        (Wanted.of(logits=True, attention=[1]), 4, 4),
    ],
)
def test_it_runs_no_further_than_needed(wanted, whole_layers, first_halves, monkeypatch):
    student = model()
    calls = {"whole": 0, "half": 0}

    def count(kind):
        return lambda *_: calls.__setitem__(kind, calls[kind] + 1)

    for layer in student.encoder.sentence_encoder.layers:
        layer.fc2.register_forward_hook(count("whole"))
        project = layer.self_attn.project
        monkeypatch.setattr(
            layer.self_attn, "project", lambda *given, of=project: (count("half")(), of(*given))[1]
        )
    student(TOKENS, wanted=wanted, classification_head_name=HEAD)
    assert calls == {"whole": whole_layers, "half": first_halves}


def test_segments_follow_the_first_separator():
    tokens = torch.tensor([[0, 5, 2, 7, 8, 2], [0, 5, 2, 1, 1, 1]])
    assert segment_ids(tokens).tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]


def test_a_layer_holds_each_matrix_once():
    names = {name.split("layers.0.")[1] for name, _ in model().named_parameters() if "layers.0." in name}
    assert len(names) == 16
    assert "fc1_weight" not in names


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_keep_nothing_in_32_for_the_gradient(dtype):
    layer = model().to(dtype).encoder.sentence_encoder.layers[0]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.dtype) or x, lambda x: x):
        layer.feed_forward(torch.randn(6, SHAPE.width, dtype=dtype))
    assert set(kept) == {dtype}


@pytest.mark.parametrize("name", get_available_activation_fns())
def test_every_activation_of_fairseq_is_as_fairseq_computes_it(name):
    ours, theirs = activation(name), get_activation_fn(name)
    x = torch.linspace(-9, 9, 2001)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours(x.bfloat16()), theirs(x.bfloat16()))
