"""Relations among queries, keys and values, also of students with other widths and heads than the teacher's."""

import pytest
import torch
from fairseq.registry import REGISTRIES

from tests.criterions.factory import criterion_of
from tests.tiny import batch, build

NARROW = {
    "encoder_layers": 2,
    "encoder_embed_dim": 8,
    "encoder_attention_heads": 2,
    "encoder_ffn_embed_dim": 16,
}


def test_a_narrower_student_learns_relations(data, teacher):
    options = {"layers": "random", "model": NARROW, "soft_weight": 0.0, "relation_heads": 4}
    task, student, criterion = build(data, teacher, "minilm_v2", **options)
    each, _, logged = criterion(student.eval(), batch(task, [0, 1, 2]), reduce=False)

    assert each.shape == (3,)
    assert torch.isfinite(each).all()
    for name in ("query", "key", "value"):
        assert logged[f"term_{name}"] > 0
    assert {"query", "key", "value"} <= criterion.metric_names()
    assert "relation" not in criterion.metric_names()


def test_relations_need_no_scores():
    criterion = criterion_of("minilm_v2 --hard-weight 0 --soft-weight 0")
    assert not criterion.student_wanted.attention
    assert criterion.student_wanted.projections == {2}
    assert criterion.teacher_wanted.projections == {4}


@pytest.mark.parametrize("name", ["minilm", "minilm_v2", "pearson"])
def test_the_papers_compare_the_last_layers(name):
    assert REGISTRIES["criterion"]["dataclass_registry"][name]().mapping == "last"
