"""Every row of an epoch is trained once, also if a resumed run changes its settings."""

import itertools
import logging
from collections import Counter
from typing import Any

import numpy as np
import pytest
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator
from fairseq_cli import train  # noqa: F401 - patches the iterators

from fairseq_kd.errors import CannotStart
from tests.tiny import build, write_data, write_text

ROWS = 61
WORDS = "masked_lm_kd"
SHAPE = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8, "encoder_attention_heads": 2,
         "max_positions": 40}  # fmt: skip


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data") / "bin", sentences=(("train", ROWS), ("valid", 4)))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "bin", lines=(("train", ROWS), ("valid", 4)))


@pytest.fixture(scope="module")
def tasks(sentences, words):
    """Return kind -> task with a training set of 61 rows; batches of sentences are random, or of similar length."""
    flags = {"hard_weight": 1.0, "soft_weight": 0.0, "layers": "random"}
    made = {
        "random": build(sentences, None, "kd", model=SHAPE, **flags),
        "bucket": build(sentences, None, "kd", model=SHAPE, task={"length_bucket": 20}, **flags),
        "words": build(words, None, "kd", model=SHAPE, task_name=WORDS,
                       task={"tokens_per_sample": 24, "sample_break_mode": "eos"}, **flags),
    }  # fmt: skip
    return {name: task for name, (task, _, _) in made.items()}


Read = list[list[list[int]]]  # update -> batches -> rows


class Run:
    """All workers of a run that reads the rows of one epoch, from the position in `state`."""

    def __init__(
        self, task, state=None, *, workers=1, batch=4, freq=1, epoch=1, tokens=None, **kwargs
    ) -> None:
        task.cfg.update_freq = [freq]
        if "train" not in task.datasets:
            task.load_dataset("train")
        self.iterators = []
        for rank in range(workers):
            task.dataset_to_epoch_iter.clear()  # the workers are processes of their own
            iterator = task.get_batch_iterator(
                task.dataset("train"), max_tokens=tokens, max_sentences=batch, num_shards=workers, shard_id=rank,
                epoch=state["epoch"] if state else epoch, **kwargs,
            )  # fmt: skip
            if state:
                iterator.load_state_dict(state)
            self.iterators.append(iterator)
        self.skip = kwargs.get("skip_remainder_batch", False)
        self.freq = freq
        self.begin()

    def begin(self) -> None:
        """Begin the next epoch, or the rest of this one."""
        epochs = [iterator.next_epoch_itr() for iterator in self.iterators]
        self.updates = [GroupedIterator(epoch, self.freq, self.skip) for epoch in epochs]

    def read(self, updates: int | None = None) -> Read:
        """Return the rows of the next updates; by default of all remaining ones."""
        rows = []
        while self.updates[0].has_next() and len(rows) != updates:
            samples = [sample for worker in self.updates for sample in next(worker)]
            rows.append([sample["id"].tolist() for sample in samples if sample])
        return rows

    @property
    def ended(self) -> bool:
        ended = {iterator.end_of_epoch() for iterator in self.iterators}
        assert len(ended) == 1
        return ended.pop()

    def state(self) -> dict[str, Any]:
        return self.iterators[0].state_dict()


def counted(*reads: Read) -> Counter:
    return Counter(row for read in reads for update in read for batch in update for row in batch)


@pytest.mark.slow
def test_a_row_is_trained_once_whatever_changes(tasks):
    rng = np.random.default_rng(0)
    sizes = ({"batch": 3}, {"batch": 8}, {"batch": None, "tokens": 70})
    each = itertools.product((1, 2, 3), (1, 2, 3), sizes)
    settings = [{"workers": workers, "freq": freq, **size} for workers, freq, size in each]
    for attempt in range(30):
        kind = ("random", "bucket", "words")[attempt % 3]
        legs, read, state = rng.choice(settings, 3), [], None
        for leg in legs:
            run = Run(tasks[kind], state, epoch=1 + attempt % 4, **leg)
            last = leg is legs[-1]
            read.append(run.read(None if last else int(rng.integers(1, 3))))
            if last or run.ended:
                break
            state = run.state()
        assert counted(*read) == Counter(range(ROWS)), (kind, legs)
        assert run.ended


@pytest.mark.parametrize("kind", ["random", "bucket", "words"])
def test_with_the_same_settings_the_same_batches_follow(tasks, kind):
    first, then = {"workers": 2, "batch": 4, "freq": 2}, {"workers": 3, "batch": 7}
    straight = Run(tasks[kind], **first)
    done = straight.read(2)
    state = straight.state()
    assert state["iterations_in_epoch"] == 4
    again = Run(tasks[kind], state, **first)
    assert again.state().keys() == state.keys()
    assert again.read() == straight.read()
    assert again.iterators[0].iterations_in_epoch == straight.iterators[0].iterations_in_epoch

    # The same within an epoch that was resumed with other settings.
    changed = Run(tasks[kind], state, **then)
    middle = changed.read(1)
    again = Run(tasks[kind], changed.state(), **then)
    rest = changed.read()
    assert again.read() == rest
    assert counted(done, middle, rest) == Counter(range(ROWS))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_order_is_that_of_fairseq(tasks, grouped, shuffle):
    for iterator in Run(tasks["random"], workers=3, grouped_shuffling=grouped).iterators:
        expected = EpochBatchIterator.ordered_batches(iterator, 2, False, shuffle)
        found = iterator.ordered_batches(2, False, shuffle)
        assert [list(batch) for batch in found] == [list(batch) for batch in expected]


def test_a_rest_that_is_too_small_for_grouped_workers_is_refused(tasks):
    run = Run(tasks["random"], batch=8, workers=3, grouped_shuffling=True)
    run.read(1)
    with pytest.raises(CannotStart, match="--grouped-shuffling .* epoch 1, .* 6 workers"):
        Run(tasks["random"], run.state(), batch=8, workers=6, grouped_shuffling=True)


@pytest.mark.parametrize("kind", ["random", "words"])
def test_the_epoch_after_a_resumed_one_is_complete(tasks, kind):
    run = Run(tasks[kind], batch=4)
    run.read(2)
    run = Run(tasks[kind], run.state(), batch=8)
    run.read()
    assert run.state()["epoch"] == 2
    run.begin()
    assert counted(run.read()) == Counter(range(ROWS))
    assert run.state()["epoch"] == 3


def test_the_last_batch_alone_is_skipped(tasks):
    """`--skip-remainder-batch` leaves out one batch, also of an epoch that is resumed."""
    flags = {"skip_remainder_batch": True, "batch": 8}
    straight = Run(tasks["random"], **flags)
    done = straight.read(5)
    resumed = Run(tasks["random"], straight.state(), **flags)
    rest = straight.read()
    assert resumed.read() == rest
    assert (len(done), len(rest), resumed.ended) == (5, 2, True)

    # What is no whole update is left out, too.
    first = Run(tasks["random"], **flags)
    first.read(1)
    second = Run(tasks["random"], first.state(), freq=4, **flags)
    assert [len(update) for update in second.read()] == [4]
    assert second.ended

    with pytest.raises(SystemExit, match="9 batches .*--update-freq.* 6 are left"):
        Run(tasks["random"], first.state(), freq=9, **flags)


def test_changed_settings_are_logged(tasks, caplog):
    caplog.set_level(logging.INFO)
    run = Run(tasks["random"], batch=4)
    run.read(5)
    caplog.clear()
    Run(tasks["random"], run.state(), batch=4, num_workers=0)
    assert "resuming epoch 1: 20 of 61 training rows are done" in caplog.text
    assert "resuming with" not in caplog.text

    caplog.clear()
    Run(tasks["random"], run.state(), batch=8, freq=2)
    assert "resuming with --batch-size 8 (was 4), --update-freq 2 (was 1)" in caplog.text


@pytest.fixture
def other(tasks, sentences, tmp_path):
    """Return a function that gives the task a training set of another size, or with other rows."""
    task = tasks["random"]
    before = task.datasets["train"], task.cfg.data, task.dataset_to_epoch_iter

    def made(rows: int, seed: int):
        task.cfg.data = str(write_data(tmp_path / "other", sentences=(("train", rows),), seed=seed))
        task.load_dataset("train")
        return task

    yield made
    task.datasets["train"], task.cfg.data, _ = before


def test_the_next_shard_is_no_other_data(tasks, other, monkeypatch):
    monkeypatch.setattr(type(tasks["random"]), "shards", 2)
    run = Run(tasks["random"])
    run.read(3)
    middle = run.state()
    run.read()
    end = run.state()
    task = other(50, 0)
    assert counted(Run(task, end).read()) == Counter(range(50))
    with pytest.raises(CannotStart, match="50 rows, was 61"):
        Run(task, middle)


@pytest.mark.parametrize(
    ("updates", "rows", "seed", "found"),
    [(None, 50, 0, "50 rows, was 61"), (3, ROWS, 1, "61 rows as before, but other lengths")],
    ids=["between epochs", "within an epoch"],
)
def test_other_data_is_refused(tasks, sentences, other, updates, rows, seed, found):
    run = Run(tasks["random"])
    run.read(updates)
    state = run.state()
    changed = rf"{found} \(--data .*/other \(was {sentences}\)\)"
    with pytest.raises(CannotStart, match=f"Cannot resume: .*: {changed}.* --reset-dataloader"):
        Run(other(rows, seed), state)


def test_other_blocks_of_text_are_refused(words):
    flags = {"hard_weight": 1.0, "soft_weight": 0.0, "layers": "random", "model": SHAPE, "task_name": WORDS}
    longer, shorter = (build(words, None, "kd", task={"tokens_per_sample": n}, **flags)[0] for n in (36, 20))
    run = Run(longer, batch=2)
    run.read(1)
    with pytest.raises(CannotStart, match=r"--tokens-per-sample 20 \(was 36\)"):
        Run(shorter, run.state(), batch=2)


def test_run_may_resume_with_another_seed(tasks, monkeypatch):
    run = Run(tasks["random"])
    read = run.read(3)
    monkeypatch.setattr(tasks["random"].dataset("train"), "seed", 5)
    monkeypatch.setitem(tasks["random"].cfg, "seed", 5)
    resumed = Run(tasks["random"], run.state(), seed=5).read()
    assert counted(read, resumed) == Counter(range(ROWS))
    assert resumed != run.read()


def test_a_checkpoint_of_an_earlier_version_goes_on_by_batches(tasks, caplog):
    run = Run(tasks["random"])
    run.read(3)
    old = {name: run.state()[name] for name in ("version", "epoch", "iterations_in_epoch", "shuffle")}
    resumed = Run(tasks["random"], old)
    assert "the checkpoint lacks the trained rows" in caplog.text
    resumed.read(1)
    run.read(1)
    again = Run(tasks["random"], resumed.state())
    assert again.read() == run.read() == resumed.read()
