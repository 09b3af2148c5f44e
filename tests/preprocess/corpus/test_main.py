"""`python -m preprocess.corpus`, from text to data."""

import json
import os
import sys

import pytest

from tests.preprocess.corpus.conftest import contents, start


def test_dropped_lines_are_counted(make, wiki, tmp_path, capsys):
    lines = ["|- style=x", "{{stub}}", "* * *", "At {{noon}} we left.", "{{open"]
    with (wiki / "AA" / "wiki_00").open("a") as file:
        file.write('<doc id="9" title="t">\nt\n\n' + "\n".join(lines))
        file.write('\n</doc>\n<doc id="8" title="u">\nu\n</doc>\n')
    assert make("--input", wiki) == 0
    assert "dropped: 1 documents without text, 3 lines" in capsys.readouterr().out
    [source] = json.loads((tmp_path / "data/meta.json").read_text())["sources"]
    assert (source["empty"], source["dropped"]) == (1, 3)


@pytest.mark.slow
def test_existing_data_is_kept(make, wiki, tmp_path, capsys):
    assert make("--input", wiki) == 0
    before = contents(tmp_path / "data")
    assert make("--input", wiki) == 0
    assert "is up to date" in capsys.readouterr().out
    assert make("--input", wiki, "--seed", "2", "--shards", "3") == 1
    assert "(--shards 1, now 3; --seed 1, now 2)" in capsys.readouterr().err
    assert contents(tmp_path / "data") == before


@pytest.mark.slow
def test_other_text_of_the_same_size_is_not_up_to_date(make, wiki, tmp_path, capsys):
    assert make("--input", wiki) == 0
    before = contents(tmp_path / "data")
    changed = wiki / "AA/wiki_01"
    text, state = changed.read_text(), changed.stat()
    changed.write_text(text.replace("kite", "mill"))
    assert make("--input", wiki) == 1
    assert "data was made from other text in wiki" in capsys.readouterr().err

    changed.write_text(text)  # as it was, but for its time
    assert make("--input", wiki) == 0
    output = capsys.readouterr()
    assert "input files may have changed; comparing their contents" in output.err
    assert "is up to date" in output.out

    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert make("--input", wiki) == 0
    assert capsys.readouterr().err == ""
    assert contents(tmp_path / "data") == before


BAD = "The ferry leaves.\nNobody said so.\n\nA kite.\ncaf\xe9\n".encode("latin-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--input is missing"),
        (["--input", "{wiki}", "--shards", "0"], "--shards 0 is out of range: give at least 1."),
        (["--input", "{wiki}", "--valid-share", "1"], "are out of range"),
        (["--input", "{wiki}", "--part", "0/4"], "--part 0/4 is invalid: give i/n with i from 1 to n"),
        (["--input", "{wiki}", "--part", "half"], "--part half is invalid"),
        (["--input", "{wiki}", "--longest", "3"], "--longest 3 is out of range"),
        (["--input", "{wiki}", "--shards", "150"], "has none of 120 documents"),
        (["--input", "{wiki}", "--valid-share", "1e-9"], "--valid-share 1e-09 selects none of the 120"),
        (["--input", "{wiki}=book", "--encoder", "gpt2"], "has no encoder.json"),
        (["--input", "{wiki}/none"], "none does not exist"),
        (["--input", "{wiki}", "--parts", "2"], "--parts are for --launcher slurm"),
        (["--input", "{wiki}", "--launcher", "slurm"], "--parts N"),
        (["--input", "{wiki}", "--launcher", "slurm", "--parts", "2", "--part", "1/2"], "--parts N"),
        (["--merge"], "data.parts with the parts to join is missing"),
    ],
)
def test_refused(make, wiki, tmp_path, capsys, arguments, message):
    before = sorted(tmp_path.iterdir())
    assert make(*[argument.format(wiki=wiki) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("preprocess.corpus: ")
    assert message in error
    assert not (tmp_path / "data").exists()
    assert sorted(tmp_path.iterdir()) == before  # nothing was encoded


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_encoding_names_file_and_line(make, tmp_path, capsys, monkeypatch, workers):
    monkeypatch.setattr("preprocess.corpus.plan_pieces.SMALLEST", 8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("It is noon.\n")
    (tmp_path / "in" / "b.txt").write_bytes(BAD)
    assert make("--input", f"{tmp_path}/in=text", "--workers", workers) == 1
    assert "in/b.txt line 5 is not UTF-8 (byte 0xe9)" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_gone_is_named(make, wiki, capsys, monkeypatch):
    from preprocess.corpus import __main__

    def cut(sources):
        (wiki / "AA" / "wiki_02").unlink()
        return real(sources)

    real = __main__.cut
    monkeypatch.setattr(__main__, "cut", cut)
    assert make("--input", wiki) == 1
    assert "wiki/AA/wiki_02: No such file or directory; restore it" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize(("workers", "limit"), [(1, 200), (2, 20_000), (1, 60_000)])
def test_a_full_disk_leaves_no_incomplete_file(make, wiki, tmp_path, wordpiece_folder, workers, limit):
    """The smallest limit is below the dictionary, the largest between a piece and the joined file."""
    setup = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({limit}, r.RLIM_INFINITY))\n"
    setup += "from preprocess.corpus import plan_pieces as plan; plan.SMALLEST = 8192"
    arguments = ["--input", wiki, "--encoder-dir", wordpiece_folder, "--workers", workers]
    limited = start(*arguments, "--out", tmp_path / "data", setup=setup)
    _, err = limited.communicate()
    assert limited.returncode == 1
    assert "File too large" in err.strip().split("\n")[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "data.parts").glob("*tmp"))
    assert not (tmp_path / "data.parts" / "joined").exists()
