"""`hsk`: what is kept of which states, and its sum over layers."""

import pytest
import torch
from torch.testing import assert_close

from fairseq_kd.context import DistillationContext
from fairseq_kd.criterions.transfer.compressed import CompressedStates, CompressionSpec
from fairseq_kd.errors import CannotStart
from fairseq_kd.models.shape import ModelShape
from fairseq_kd.objectives import SentenceLabels
from fairseq_kd.signals import Signals
from fairseq_kd.teachers.live import select_signals
from tests.originals import check_original, recorded, with_gradients
from tests.tiny import batch, build

SIX_OF_TWELVE = DistillationContext(
    SentenceLabels(2, regression=False),
    student_shape=ModelShape(layers=6, width=16, ffn=32, heads=4),
    teacher_shape=ModelShape(layers=12, width=16, ffn=32, heads=4),
)

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
    assert part.pairs == list(
        zip(d["out_student_states"].tolist(), d["out_teacher_states"].tolist(), strict=True)
    )

    student, teacher = (
        Signals(d["in_mask"], states=by_number(d, f"in_{side}_hidden", f"out_{side}_states"))
        for side in ("student", "teacher")
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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"hsk_keep": "ten"}, r"--hsk-keep ten is not valid: give for example 1l_10t_0\.1h"),
        (
            {"hsk_keep": "4l"},
            r"--hsk-keep 4l keeps 4 pairs of states, but --mapping has 3: give 3l or less",
        ),
        ({"hsk_keep": "0l"}, r"--hsk-keep 0l is out of range"),
        ({"hsk_keep": "2h"}, r"--hsk-keep 2h is out of range"),
        ({"hsk_keep": "0.05h"}, r"--hsk-keep 0\.05h keeps less than one of the teacher's 16 dimensions"),
        ({"mapping": "combine"}, r"--mapping combine mixes all hidden states"),
    ],
)
def test_what_cannot_be_kept_is_refused(data, teacher, options, problem):
    with pytest.raises(CannotStart, match=problem):
        build(data, teacher, "hsk", **options)


def test_layers_are_kept_from_the_top(data, teacher):
    _, _, criterion = build(data, teacher, "hsk", mapping="top3", hsk_keep="2l_3t")
    assert criterion.hidden.pairs == [(1, 2), (2, 3)]
    assert (
        criterion.hidden.describe_pairs() == "1 <- 2 (3t.attention_no_sep.2)  2 <- 3 (3t.attention_no_sep.3)"
    )
    # The teacher runs no further than the highest of them.
    assert criterion.teacher_wanted.exposed().depth(4) == 4  # its logits
    _, _, criterion = build(data, teacher, "hsk", mapping="top3", hsk_keep="1l", soft_weight=0.0)
    assert criterion.teacher_wanted.exposed().depth(4) == 3


def test_state_0_is_ranked_by_layer_1(data, teacher):
    _, _, criterion = build(data, teacher, "hsk", hsk_keep="3t")
    assert [how.ranking for how in criterion.hidden.how.values()] == [1, 2, 4]
    _, _, criterion = build(data, teacher, "hsk", mapping="top2", hsk_keep="3t", hsk_ranking="skip")
    assert [how.ranking for how in criterion.hidden.how.values()] == [1, 2, 4]


def test_the_teacher_gives_away_no_more_than_is_wanted(data, teacher):
    task, _, criterion = build(data, teacher, "hsk", hsk_keep="1l_3t_0.25h")
    signals = task.teacher.signals(batch(task, [0, 1]), criterion.teacher_wanted)
    assert not signals.states
    assert not signals.attention
    [kept] = signals.compressed.values()
    assert kept.values.shape == (2, 3 * 4)
