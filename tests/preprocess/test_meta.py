"""meta.json describes the data, and decides whether a folder is up to date."""

from preprocess.encoders import load_encoder
from preprocess.vocabulary import read_dictionary, symbols_hash
from tests.preprocess.conftest import meta_of


def test_meta_describes_the_data(run_glue, gpt2_folder, tmp_path):
    assert run_glue("--tasks", " mnli,") == 0  # spaces and case do not matter
    meta = meta_of(tmp_path, "MNLI")
    encoder = meta.pop("encoder")
    train = meta["splits"].pop("train")

    assert encoder == {"name": "gpt2", "lowercase": False, "hash": load_encoder(gpt2_folder).hash}
    assert (train["sentences"], train["dropped"], train["truncated"]) == (2, 1, 0)
    assert train["dropped_why"] == {"no label": 1}
    assert train["source"] == "train.tsv"
    assert len(train["sha256"]) == 64
    assert list(meta["splits"]) == ["valid", "valid1", "test", "test1"]
    written = read_dictionary(tmp_path / "out/MNLI-bin/input1/dict.txt")
    assert meta["dictionary_hash"] == symbols_hash(written)
    assert {name: meta[name] for name in list(meta)[:9]} == {
        "format": 1,
        "task": "MNLI",
        "num_classes": 3,
        "regression": False,
        "labels": ["entailment", "neutral", "contradiction"],
        "metric": "accuracy",
        "pairs": True,
        "pair_format": "roberta",
        "max_positions": 512,
    }


def test_a_second_run_is_up_to_date_until_something_changes(run_glue, glue_dir, tmp_path, capsys):
    assert run_glue("--tasks", "RTE") == 0
    made = (tmp_path / "out/RTE-bin").stat().st_ino
    assert run_glue("--tasks", "RTE", "--seed", 5) == 0  # nothing is chosen, so the seed does not matter
    assert "RTE-bin is up to date" in capsys.readouterr().out
    assert (tmp_path / "out/RTE-bin").stat().st_ino == made

    with (glue_dir / "RTE" / "dev.tsv").open("a") as file:
        file.write("1\tNoon.\tNight.\tnot_entailment\n")
    assert run_glue("--tasks", "RTE") == 1
    assert "(other input files, columns or classes" in capsys.readouterr().err
    assert run_glue("--tasks", "RTE", "--limit-train", 2, "--max-positions", 100) == 1
    assert "(--max-positions 512, now 100; --limit-train not given, now 2)" in capsys.readouterr().err
    assert run_glue("--tasks", "RTE", "--overwrite") == 0
    assert meta_of(tmp_path, "RTE")["splits"]["valid"]["sentences"] == 2

    (tmp_path / "out/RTE-bin/input1/train.bin").unlink()
    assert run_glue("--tasks", "RTE") == 1
    assert "files are missing from" in capsys.readouterr().err


def test_a_folder_made_by_others_is_kept(run_glue, tmp_path, capsys):
    (tmp_path / "out/RTE-bin").mkdir(parents=True)
    (tmp_path / "out/RTE-bin/notes.txt").write_text("mine")
    assert run_glue("--tasks", "RTE", "--overwrite") == 1
    assert "has no meta.json" in capsys.readouterr().err
    assert (tmp_path / "out/RTE-bin/notes.txt").read_text() == "mine"
