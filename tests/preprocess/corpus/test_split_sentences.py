import pytest

from preprocess.corpus.split_sentences import LONGEST, sentences


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One line only", ["One line only"]),
        ("It rained. We left! Why? No one knows.", ["It rained.", " We left!", " Why?", " No one knows."]),
        ("Dr. Who met Mr. J. R. Smith at 3 p.m. sharp.", ["Dr. Who met Mr. J. R. Smith at 3 p.m. sharp."]),
        ("He said \"Stop.\" Then (at last.) 'Go.'", ['He said "Stop."', " Then (at last.)", " 'Go.'"]),
        ("Version 3.14 of e.g. Python. It is 1984.", ["Version 3.14 of e.g. Python.", " It is 1984."]),
        ("\"What?\" he asked. 'Oh!' she said.", ['"What?" he asked.', " 'Oh!' she said."]),
        ("1. First of a list. 2. Second.", ["1. First of a list.", " 2. Second."]),
        ("It is 35Cl (24.23%). In the U.S. too.", ["It is 35Cl (24.23%).", " In the U.S. too."]),
        ("So did I. Then we left.", ["So did I.", " Then we left."]),
        ("中文。句子！还有", ["中文。", "句子！", "还有"]),
        ("", [""]),
    ],
)
def test_sentences(paragraph, expected):
    assert sentences(paragraph) == expected


@pytest.mark.parametrize("unit", ["word ", "x", "Short. Ones. "])
def test_long_text_is_cut_and_joins_to_itself(unit):
    paragraph = (unit * 3000).strip()
    found = sentences(paragraph)
    assert "".join(found) == paragraph
    assert max(map(len, found)) <= LONGEST
    assert all(part[0] == " " for part in found[1:]) == (" " in unit)
