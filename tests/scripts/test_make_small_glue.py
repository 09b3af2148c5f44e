from scripts.make_small_glue import SPLITS, write


def test_it_writes_the_format_of_glue(tmp_path):
    write(tmp_path)
    for split, count in SPLITS.items():
        lines = (tmp_path / "SST-2" / f"{split}.tsv").read_text().split("\n")
        header = "index\tsentence" if split == "test" else "sentence\tlabel"
        assert lines[0] == header
        assert lines[-1] == ""
        assert len(lines) == count + 2
        assert all(line.count("\t") == 1 for line in lines[:-1])


def test_it_is_the_same_every_time_and_balanced(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    text = (tmp_path / "a" / "SST-2" / "train.tsv").read_text()
    assert text == (tmp_path / "b" / "SST-2" / "train.tsv").read_text()
    labels = [line[-1] for line in text.splitlines()[1:]]
    assert 0.45 < labels.count("1") / len(labels) < 0.55
