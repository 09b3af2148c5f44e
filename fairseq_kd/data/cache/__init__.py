"""A teacher's signals on disk, written once for all runs that learn from it. This is the format.

    DIR/cache.json              whose signals these are, see `identity.py`
    DIR/lm_head.pt              of a teacher that is asked for words: its masked-LM head, which makes scores of states
    DIR/SPLIT/rows.json         of which data: a hash of it, and how many rows; SPLIT is train, valid, .., and of text in
                                shards train.0, train.1, ..
    DIR/SPLIT/masked.npy        [N] how many masked words each row has, where words are masked
    DIR/SPLIT/RECORD.PRECISION.bin    the records of all N rows, one behind the other
    DIR/SPLIT/RECORD.PRECISION.sums   [N, 2] uint32, their checksums
    DIR/SPLIT/RECORD.PRECISION.lock   empty: byte r of it is locked by whoever writes row r

A row is an example of the split, by its number in the data, in whatever order it is trained on. Its record holds what
belongs to its n tokens, and no padding, in fp16, bf16 or fp32, little-endian, filled up to a multiple of 4 bytes:

    logits            [C]
    masked            [m, H]           top states at its m masked words
    state-K           [n, H]           K counts states from 0
    first-K           [H]              what stands at position 0
    attention-K       [A, n, n]        K counts layers from 1
    projections-K     [3, A, n, d]     queries, keys, values
    compressed-K-HOW  of k = min(K, n) tokens: values [k, D]; which dimensions those are, uint16 [k, D], where each token has
                      its own (else those of `fixed_dimensions`, for ever the same); where the tokens stand, uint16 [k],
                      65535 for none, unless all are kept. HOW is the name of a Compression. By sentence: values [E], and
                      which entries of k H those are, uint32 [E]

The two checksums of a row are CRC-32, of its token numbers (int32), and continued over its record; 0, 0 is a row not
yet written. Whoever writes a row locks it, and leaves it alone where it is whole: of several the first one counts. A
record is written before its sums, so what a killed writer left half done does not fit and counts as not written, as
does what the disk damaged. Reading takes no lock: what does not fit is not there. Where there are no such locks
(outside Unix), two writers whose bits differ may leave a row that does not fit. A row whose tokens are not those of the
data ends the run. Files have their whole size from the beginning and appear by renaming.
"""

from .identity import Identity
from .records import records_of
from .rows import CachedRows

__all__ = ["CachedRows", "Identity", "records_of"]
