"""Records of signals: they have the announced size, and are decoded to what was encoded."""

import numpy as np
import pytest
import torch

from fairseq_kd.data.cache.codecs import CompressedCodec, codecs_of, to_bits
from fairseq_kd.losses import Compression
from fairseq_kd.signals import Signals, Wanted
from tests.stored import check_signals
from tests.tiny import SHAPE, batch, build, pretraining

KEPT = [
    (4, Compression()),
    (4, Compression(3, "left")),
    (3, Compression(3, "attention_no_sep", 3, 0.25, "magnitude")),
    (2, Compression(30, "attention", 2, 0.3, "magnitude_sentence")),
    (1, Compression(2, "attention_no_sep", 1, 0.3, "magnitude_sentence")),
    (2, Compression(share=0.5, width="uniform")),
    (2, Compression(5, "left", None, 0.5, "random")),
    (0, Compression(share=0.5, width="magnitude")),
]
WANTED = Wanted.of(True, states=[0, 4], attention=[2, 4], projections=[3], first=[1, 4], compressed=KEPT)
TOLERANCES = {"fp16": 1e-3, "bf16": 1e-2, "fp32": 1e-6}


def stored(signals: Signals, codecs, sizes, precision: str) -> Signals:
    """Encode and decode signals; assert that the records have the announced sizes."""
    found = Signals(signals.mask)
    for codec in codecs:
        records = codec.encode(signals, sizes, precision)
        announced = [codec.bytes(np.array([n]), np.array([m]), precision) for n, m in sizes]
        assert [len(record) for record in records] == [int(np.ravel(size)[0]) for size in announced]
        codec.restore(codec.decode(records, sizes, precision), precision, found)
    return found


@pytest.mark.parametrize("precision", TOLERANCES)
def test_every_signal_is_restored(data, teacher, precision):
    task, _, _ = build(data, teacher, "kd")
    expected = task.teacher.signals(batch(task, [3, 17, 20, 5]), WANTED)
    sizes = [(int(length), 0) for length in expected.mask.sum(dim=1)]
    assert len(set(sizes)) > 1
    codecs = codecs_of(WANTED, SHAPE, 2)
    assert len({codec.name for codec in codecs}) == len(codecs) == 15
    check_signals(stored(expected, codecs, sizes, precision), expected, TOLERANCES[precision])


def test_masked_words_are_restored(text, lm_teacher):
    task, _, _ = pretraining(text, lm_teacher, "kd")
    sample = batch(task, range(4))
    expected = task.teacher.signals(sample, Wanted(logits=True))
    numbers = torch.bincount(sample["masked_sentences"], minlength=4).tolist()
    sizes = list(zip(expected.mask.sum(dim=1).tolist(), numbers, strict=True))
    [codec] = codecs_of(Wanted(logits=True), SHAPE, None)
    found = stored(expected, [codec], sizes, "fp32")
    assert torch.equal(found.masked, expected.masked)


def test_only_wanted_signals_have_codecs():
    assert [codec.name for codec in codecs_of(Wanted.of(states=[1], first=[1, 2]), SHAPE, 2)] == [
        "state-1",
        "first-2",
    ]


def test_the_size_of_a_compressed_record():
    """3 tokens of 4 dimensions of 2 bytes, and as many to say which; 2 bytes per token to say where."""
    codec = CompressedCodec(4, Compression(3, "attention_no_sep", 4, 0.25, "magnitude"), 16)
    assert codec.name == "compressed-4-3t.attention_no_sep.4_0.25h.magnitude"
    assert codec.bytes(np.array([30, 2]), np.zeros(2), "fp16").tolist() == [
        3 * 4 * (2 + 2) + 3 * 2,
        2 * 4 * 4 + 2 * 2,
    ]


def test_numbers_too_large_for_fp16_are_an_error():
    assert to_bits(torch.tensor([65504.0]), "fp16").itemsize == 2
    with pytest.raises(ValueError, match="fp16 has no number above 65504"):
        to_bits(torch.tensor([1e5]), "fp16")
