from pathlib import Path

import pytest

from tests.processes import bash
from tests.tiny import ROOT

SCRIPT = ROOT / "scripts" / "download_glue.sh"


def make_mrpc(source: Path, target: Path) -> None:
    bash("-c", f'source "{SCRIPT}"; make_mrpc "$0" "$1"', source, target, check=True)


def test_rows_are_counted(tmp_path):
    (tmp_path / "WNLI").mkdir()
    header = "index\tsentence1\tsentence2\tlabel\n"
    for split, number in (("train", 635), ("dev", 71), ("test", 146)):
        (tmp_path / "WNLI" / f"{split}.tsv").write_text(header + "0\ta\tb\t0\n" * number)
    assert bash(SCRIPT, "--check", tmp_path, "WNLI").stdout == "WNLI: train:635 dev:71 test:146\n"

    (tmp_path / "WNLI" / "dev.tsv").write_text(header + "0\ta\tb\t0\n" * 70 + "broken\n")
    (tmp_path / "WNLI" / "test.tsv").unlink()
    done = bash(SCRIPT, "--check", tmp_path, "WNLI")
    assert done.returncode == 1
    assert "dev.tsv has 70 rows instead of 71" in done.stderr
    assert "test.tsv is missing or empty" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the folder is missing"),
        (["--check", "here", "foo"], "the task foo is unknown: choose from CoLA"),
    ],
)
def test_wrong_arguments_are_errors(arguments, message, tmp_path):
    done = bash(SCRIPT, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_mrpc_is_divided_by_the_list_of_ids(tmp_path):
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    rows = '1\t10\t11\ta "b\tc\r\n0\t12\t13\td\te\r\n1\t14\t15\tf\tg\r\n'
    (tmp_path / "train.txt").write_text(header + rows)
    (tmp_path / "test.txt").write_text(header + "1\t20\t21\th\ti\r\n0\t22\t23\tj\tk\r\n")
    (tmp_path / "dev_ids.tsv").write_text("12\t13\n")
    make_mrpc(tmp_path, tmp_path / "MRPC")

    made = {path.name: path.read_text().split("\n") for path in (tmp_path / "MRPC").iterdir()}
    assert made["train.tsv"][1:] == ['1\t10\t11\ta "b\tc', "1\t14\t15\tf\tg", ""]
    assert made["dev.tsv"][1:] == ["0\t12\t13\td\te", ""]
    names = "index\t#1 ID\t#2 ID\t#1 String\t#2 String"
    assert made["test.tsv"] == [names, "0\t20\t21\th\ti", "1\t22\t23\tj\tk", ""]


@pytest.mark.real_data
def test_the_real_list_of_ids_gives_the_real_dev_set(real_data, tmp_path):
    folder = real_data / "glue" / "MRPC"
    real = {split: (folder / f"{split}.tsv").read_bytes() for split in ("train", "dev", "test")}
    (tmp_path / "train.txt").write_bytes(real["train"].rstrip() + b"\n" + real["dev"].split(b"\n", 1)[1])
    (tmp_path / "test.txt").write_bytes(real["test"])
    (tmp_path / "dev_ids.tsv").write_bytes((folder / "dev_ids.tsv").read_bytes())
    make_mrpc(tmp_path, tmp_path / "MRPC")

    for split in ("train", "dev"):
        made = (tmp_path / "MRPC" / f"{split}.tsv").read_bytes()
        expected = real[split].replace(b"\r", b"").rstrip(b"\n").split(b"\n")[1:] + [b""]
        assert sorted(made.split(b"\n")[1:]) == sorted(expected)
