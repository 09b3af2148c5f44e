"""The memory of a process depends on the size of a piece, not of the corpus."""

import gzip
import sys

import pytest

from tests.preprocess.corpus.conftest import article, start

PEAK = """
import atexit, re, resource
def peak():  # not ru_maxrss of this process, which counts what its parent, the tests', held
    own = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    print(own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
atexit.register(peak)
from preprocess.corpus import encode_pieces as pieces, plan_pieces as plan
pieces.BATCH, pieces.IN_MEMORY, plan.SMALLEST = 16384, 65536, 65536
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's peak of memory")
@pytest.mark.parametrize("layout", ["many files", "one compressed file"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, wordpiece_folder, layout):
    text = "".join(article(i) for i in range(600))  # 0.4 MB
    peaks = {}
    for times in (1, 10):
        folder = tmp_path / f"times{times}"
        folder.mkdir()
        for i in range(times):
            # Other words in each copy, so that no cache has seen them.
            copy = text.replace("kite", f"kite{i}").encode()
            name = f"{i}" if layout == "many files" else "all"
            with (folder / name).open("ab") as file:
                file.write(gzip.compress(copy) if layout == "one compressed file" else copy)
        arguments = ["--input", folder, "--encoder-dir", wordpiece_folder, "--out", tmp_path / f"data{times}"]
        process = start(*arguments, "--workers", "2", setup=PEAK)
        out, err = process.communicate()
        assert process.returncode == 0, err
        peaks[times] = [float(peak) for peak in out.split()[-2:]]
    grown = [large - small for small, large in zip(peaks[1], peaks[10], strict=True)]
    # MiB, of the first process and of a worker; the texts differ by 3.5, half of it a worker's. A compressed file is
    # all one process's, whose tokens would take 5 MiB more.
    assert max(grown) < (3 if layout == "one compressed file" else 2)
