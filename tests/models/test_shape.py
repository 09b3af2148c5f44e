from argparse import Namespace
from dataclasses import replace

import torch

from fairseq_kd.models import roberta_student
from fairseq_kd.models.roberta_student import RobertaStudent
from fairseq_kd.models.shape import ModelShape, shape_of
from fairseq_kd.teachers.live import NO_DROPOUT
from tests.tiny import SHAPE, weights

PRUNED = ModelShape(layers=2, width=16, ffn=8, heads=2, max_positions=40, head_width=4, rank=6)


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


def test_a_shape_is_read_from_weights_and_config():
    config = {**PRUNED.config(), "encoder_head_dim": None, "embedding_rank": None}
    assert shape_of(config, weights(PRUNED)) == PRUNED
    bert = replace(SHAPE, segments=2, pair_format="bert", layernorm_eps=1e-12, activation="relu")
    assert shape_of(bert.config(), weights(bert)) == bert
    assert str(PRUNED) == "2 layers, width 16, 2 heads of 4, ffn 8, embeddings of rank 6"
