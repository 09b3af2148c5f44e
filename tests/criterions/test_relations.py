"""MiniLMv2's relation heads: students whose widths and heads are not the teacher's."""

import pytest
from fairseq.registry import REGISTRIES

from fairseq_kd.errors import CannotStart
from tests.tiny import SHAPE, batch, build

NARROW = {
    "encoder_layers": 2,
    "encoder_embed_dim": SHAPE.width // 2,
    "encoder_attention_heads": SHAPE.heads // 2,
    "encoder_ffn_embed_dim": 16,
}


def narrow(data, teacher, method, **options):
    return build(data, teacher, method, layers="random", model=NARROW, soft_weight=0.0, **options)


def test_a_narrower_student_learns_relations(data, teacher):
    task, student, criterion = narrow(data, teacher, "minilm_v2", relation_heads=4)
    student.train(False)
    each, _, logged = criterion(student, batch(task, [0, 1, 2]), reduce=False)

    assert each.shape == (3,)
    for name in ("query", "key", "value"):
        assert logged[f"term_{name}"] > 0
    assert {"query", "key", "value"} <= criterion.metric_names()
    assert "relation" not in criterion.metric_names()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("minilm_v2", {}, "the student has 2 heads and the teacher 4: give --relation-heads"),
        ("minilm_v2", {"relation_heads": 16}, "--relation-heads 16 does not divide the student's width of 8"),
        ("minilm_v2", {"relation_heads": 0}, "--relation-heads 0 does not divide"),
        ("minilm", {}, "--encoder-attention-heads 4, or --criterion minilm_v2"),
        ("pearson", {}, "--encoder-attention-heads 4, or --criterion minilm_v2"),
        ("minilm_v2", {"mapping": "0:1"}, "pairs 0:1, but state 0 is the embedding output"),
    ],
)
def test_what_cannot_be_compared_is_said(data, teacher, method, options, message):
    with pytest.raises(CannotStart, match=message):
        narrow(data, teacher, method, **options)


def test_relations_need_no_scores(data, teacher):
    _, _, criterion = build(data, teacher, "minilm_v2", hard_weight=0.0, soft_weight=0.0)
    assert not criterion.student_wanted.attention
    assert criterion.student_wanted.projections == {2}
    assert criterion.teacher_wanted.projections == {4}


def test_the_papers_compare_the_last_layers():
    for name in ("minilm", "minilm_v2", "pearson"):
        assert REGISTRIES["criterion"]["dataclass_registry"][name]().mapping == "last"
