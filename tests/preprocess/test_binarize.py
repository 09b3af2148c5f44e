import pytest

from preprocess.binarize import binarize, choose
from preprocess.encoders import load_encoder
from preprocess.meta import Options
from preprocess.sources import find_sources
from preprocess.tasks import TASKS


def test_a_choice_is_seeded_ordered_and_nested():
    chosen = choose(1000, 100, seed=1)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 100
    assert set(choose(1000, 50, seed=1)) < set(chosen)
    assert choose(1000, 100, seed=2) != chosen
    assert choose(10, 3, seed=1) == [4, 7, 8]  # stands for every machine and version
    assert choose(4, 9, seed=1) == [0, 1, 2, 3]


def test_a_failure_leaves_nothing_and_the_old_folder_stands(glue_dir, gpt2_folder, tmp_path, monkeypatch):
    def make(**options):
        sources = find_sources(TASKS["RTE"], glue_dir, {}, [])
        return binarize(
            TASKS["RTE"], sources, load_encoder(gpt2_folder), Options(**options), tmp_path / "out", True
        )

    (tmp_path / "out").mkdir()
    first = make()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("preprocess.binarize.write_indexed", fail)
        with pytest.raises(OSError, match="No space left"):
            make(max_positions=64)

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["RTE-bin"]
    assert make() == first  # and it can be replaced
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["RTE-bin"]
