"""What is kept of which states, and its sum over layers."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.context import DistillationContext
from fairseq_kd.criterions.transfer.compressed import CompressedStates, CompressionSpec
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals
from fairseq_kd.teachers.live import select_signals
from tests.originals import check_original, recorded, with_gradients

SIX_OF_TWELVE = DistillationContext(
    SentenceLabels(2, regression=False),
    student_shape=ModelShape(layers=6, width=16, ffn=32, heads=4),
    teacher_shape=ModelShape(layers=12, width=16, ffn=32, heads=4),
)

SIDES = ("student", "teacher")

# file, mapping, --hsk-keep, length, width, ranking; the originals mask the teacher alone
CASES = [
    ("depth", "top10", "3l", "attention_no_sep", "magnitude", "own"),
    ("length_left", "top10", "2l_4t", "left", "magnitude", "own"),
    ("length_attention_padded", "top10", "3l_4t", "attention", "magnitude", "own"),
    ("length_attention_no_sep_padded", "top10", "3l_4t", "attention_no_sep", "magnitude", "own"),
    ("length_attention_top12", "top10", "3l_4t", "attention", "magnitude", "skip"),
    ("width_magnitude", "top10", "2l_0.25h", "attention_no_sep", "magnitude_sentence", "own"),
    ("width_uniform", "top10", "2l_0.3h", "attention_no_sep", "uniform", "own"),
    ("3d", "top8", "2l_4t_0.25h", "attention_no_sep", "magnitude_sentence", "own"),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_it_equals_the_original_on_each_sentence_alone(case):
    name, mapping, keep, *schemes = case
    d = with_gradients(recorded(f"hsk_{name}"), "student_hidden")
    part = CompressedStates(SIX_OF_TWELVE, "hsk", mapping, keep, *schemes, teacher_alone="h" in keep)
    assert part.errors == []
    assert part.pairs == list(zip(*(d[f"out_{side}_states"].tolist() for side in SIDES), strict=True))

    student, teacher = (
        Signals(d["in_mask"], states=by_number(d, f"in_{side}_hidden", f"out_{side}_states"))
        for side in SIDES
    )
    teacher.attention = by_number(d, "in_teacher_attention", "out_attention_layers")
    separators = torch.where(d["in_separator"], 2, 3)  # token numbers
    each = part(student, select_signals(teacher, part.teacher_wanted, separators))

    if name in ("width_magnitude", "3d"):  # there, magnitudes are compared across the batch of out_loss
        assert_close(each.detach(), d["out_each_sentence_alone"], rtol=1e-9, atol=0)
    else:
        check_original(d, each, ["student_hidden"])


def by_number(d, name, numbers):
    if numbers not in d:
        return {}
    return dict(zip(d[numbers].tolist(), d[name], strict=True))


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", (None, None, 1.0)),
        ("1l_10t_0.1h", (1, 10, 0.1)),
        ("2l", (2, None, 1.0)),
        ("10t_0.5h", (None, 10, 0.5)),
        ("1h", (None, None, 1.0)),
    ],
)
def test_the_shorthand(keep, expected):
    read = CompressionSpec.parse(keep)
    assert (read.layers, read.tokens, read.share) == expected


@pytest.mark.parametrize("keep", ["", "1", "1l10t", "1l_2l", "0.5l", "1.5t", "-1l", "0.1.2h", "10_0.1"])
def test_other_words_are_no_shorthand(keep):
    assert CompressionSpec.parse(keep) is None
