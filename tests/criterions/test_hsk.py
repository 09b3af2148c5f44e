"""`hsk`: which states it compares, and how they are compressed."""

from tests.criterions.factory import criterion_of
from tests.tiny import batch, build


def test_layers_are_kept_from_the_top():
    criterion = criterion_of("hsk --mapping top3 --hsk-keep 2l_3t")
    assert criterion.hidden.pairs == [(1, 2), (2, 3)]
    described = "1 <- 2 (3t.attention_no_sep.2)  2 <- 3 (3t.attention_no_sep.3)"
    assert criterion.hidden.describe_pairs() == described
    # The teacher runs no further than the highest of them.
    assert criterion.teacher_wanted.exposed().depth(4) == 4  # its logits
    criterion = criterion_of("hsk --mapping top3 --hsk-keep 1l --soft-weight 0")
    assert criterion.teacher_wanted.exposed().depth(4) == 3


def test_state_0_is_ranked_by_layer_1():
    for flags in ("--hsk-keep 3t", "--hsk-keep 3t --mapping top2 --hsk-ranking skip"):
        assert [how.ranking for how in criterion_of(f"hsk {flags}").hidden.how.values()] == [1, 2, 4]


def test_the_teacher_returns_only_wanted_signals(data, teacher):
    task, _, criterion = build(data, teacher, "hsk", hsk_keep="1l_3t_0.25h")
    signals = task.teacher.signals(batch(task, [0, 1]), criterion.teacher_wanted)
    assert not signals.states
    assert not signals.attention
    [kept] = signals.compressed.values()
    assert kept.values.shape == (2, 3 * 4)
