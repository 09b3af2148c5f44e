import numpy as np
import pytest
import torch
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from fairseq_kd.data.sentences import SentenceDataset


class Rows(list):
    """Token rows with their sizes, as in an indexed data set."""

    def __init__(self, lengths, first: int = 10):
        super().__init__(torch.tensor([first] * (n - 1) + [2]) for n in lengths)
        self.sizes = np.array(lengths)


@pytest.mark.parametrize(
    ("pair_format", "tokens"),
    [
        ("roberta", [0, 10, 10, 2, 2, 20, 2]),  # <s> a </s> </s> b </s>
        ("bert", [0, 10, 10, 2, 20, 2]),  # [CLS] a [SEP] b [SEP]
    ],
)
def test_pairs_are_joined(pair_format, tokens):
    dataset = SentenceDataset(Rows([3]), Rows([2], first=20), None, pair_format)
    assert dataset[0]["tokens"].tolist() == tokens
    assert dataset.size(0) == len(tokens)


def test_a_batch_has_its_input_and_its_labels():
    dataset = SentenceDataset(Rows([3, 2]), None, np.array([0, 1]), "roberta")
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["net_input"]["src_tokens"].tolist() == [[0, 10, 10, 2], [0, 10, 2, 1]]
    assert batch["target"].tolist() == [0, 1]
    assert (batch["nsentences"], batch["ntokens"]) == (2, 7)


def order(epoch: int, seed: int = 1, bucket: int | None = 50) -> np.ndarray:
    lengths = np.random.default_rng(0).integers(2, 40, size=200)
    dataset = SentenceDataset(Rows(lengths), None, None, "roberta", seed=seed, bucket=bucket)
    dataset.set_epoch(epoch)
    return dataset.ordered_indices()


def test_training_order_is_a_permutation_sorted_within_buckets():
    lengths = np.random.default_rng(0).integers(2, 40, size=200)
    found = order(epoch=1)
    assert sorted(found) == list(range(200))
    for start in range(0, 200, 50):
        assert (np.diff(lengths[found[start : start + 50]]) >= 0).all()
    assert (np.diff(lengths[found]) < 0).any()
    assert (np.diff(lengths[order(1, bucket=None)]) >= 0).all()  # validation


def test_training_order_depends_only_on_seed_and_epoch():
    assert (order(epoch=3) == order(epoch=3)).all()
    assert (order(epoch=3) != order(epoch=4)).any()
    assert (order(epoch=3) != order(epoch=3, seed=2)).any()


def batches_of(task: FairseqTask, dataset: SentenceDataset, epoch: int) -> list[list[int]]:
    """Return the batches of the trainer in this epoch."""
    iterator = task.get_batch_iterator(dataset, max_sentences=8, epoch=epoch)
    return [batch["id"].tolist() for batch in iterator.next_epoch_itr(shuffle=True)]


def test_every_epoch_has_its_own_batches_and_a_restart_repeats_them():
    lengths = np.random.default_rng(0).integers(2, 40, size=200)

    def dataset():
        return SentenceDataset(Rows(lengths), None, None, "roberta", bucket=50)

    task, running = FairseqTask(OmegaConf.create({})), dataset()
    first, second = (batches_of(task, running, epoch) for epoch in (1, 2))
    assert not {tuple(sorted(batch)) for batch in first} & {tuple(sorted(batch)) for batch in second}
    assert batches_of(FairseqTask(OmegaConf.create({})), dataset(), epoch=2) == second
