"""Teacher cache: a teacher's signals on disk, written once and read by all runs that use them. The format:

    DIR/cache.json              identity of the teacher and the data, see `identity.py`
    DIR/lm_head.pt              with masked words only: the teacher's masked-LM head, which computes logits from states
    DIR/SPLIT/rows.json         hash of the split's data, and its number of rows. SPLIT is train, valid, ..; text in
                                shards has train.0, train.1, ..
    DIR/SPLIT/masked.npy        [N] number of masked words of each row, with masked words only
    DIR/SPLIT/RECORD.PRECISION.bin    the records of all N rows, concatenated
    DIR/SPLIT/RECORD.PRECISION.sums   [N] uint32, their checksums
    DIR/lock, DIR/SPLIT/lock    empty; locked while files are created, or rows written

A row is one example of the split. It is numbered by its position in the data, not in the training order. A record holds
one signal of a row's n tokens, without padding. Values are fp16, bf16 or fp32, little-endian. A record is padded to a
multiple of 4 bytes:

    logits            [C]
    masked            [m, H]           top states at the row's m masked words
    state-K           [n, H]           K = number of the state, from 0
    first-K           [H]              state K at position 0
    attention-K       [A, n, n]        K = number of the layer, from 1
    projections-K     [3, A, n, d]     queries, keys, values
    compressed-K-HOW  state K compressed to k = min(K, n) tokens; HOW is the name of a Compression. Three arrays:
                      values [k, D];
                      kept dimensions, uint16 [k, D], if they differ between tokens (else `fixed_dimensions`);
                      token positions, uint16 [k], 65535 = none, unless all tokens are kept.
                      With magnitude_sentence, the first two are values [E] and their indices among k H, uint32 [E]

The checksum of a record is the CRC-32 of the row's token numbers (int32), continued over the record; 0 means not
written. A writer locks the split, and does nothing if the row is valid, so the first of several writers wins. It writes
the record before the checksum. A record with a wrong checksum counts as not written: a killed writer left it
incomplete, the disk damaged it, or the data has other tokens. Readers take no lock.

Files are created at full size and renamed into place.
"""

from .codecs import codecs_of
from .identity import Identity, hash_files
from .split_cache import SplitCache

__all__ = ["Identity", "SplitCache", "codecs_of", "hash_files"]
