import json

import pytest

from preprocess.corpus.clean_documents import documents
from preprocess.errors import DataError

WIKI = """<doc id="1" url="u" title="Tom &amp; "Jerry"">
Tom & "Jerry"

Tom is a cat.<ref name=a></ref> Jerry<br />is not.
History.
They met () in 1940 (; first) [ [update]].

</doc>
<doc id="2" url="u" title="Stub">
Stub

</doc>
<doc id="3" url="u" title="Tables">
Tables

|- style="x"
{{cite web}}
a &lt; b and a[i][j]
<doc id="4" url="u" title="No title line">
Text at once.
"""

BOOK = """\ufeff  THE TITLE\r
\r
It was a well-\r
known  _fact_ that--\r
[Illustration: a fact]\r
nobody[FN#3] knew [p.12]\r
\x0c\r
* * *\r
\r
snake_case_name\r
"""


def made(kind: str, text: str) -> list[list[str]]:
    return list(documents(kind, text.replace("\r\n", "\n").split("\n"), lambda i: f"file line {i + 1}"))


def test_articles_lose_title_and_markup():
    assert made("wiki", WIKI) == [
        ["Tom is a cat. Jerry is not.", "History.", "They met in 1940 (first) ."],
        [],
        ["a < b and a[i][j]"],
        ["Text at once."],
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Noon {{circa|12}} is {{lang|fr|midi}}, not {{n}}.", ["Noon is , not ."]),
        ("He {{a|{{b}} c {{d|{{e}}}}}} left.", ["He left."]),
        ("So {{math|{x}}} and {{{1|y}}} and {{a|{{{1}}}}} end.", ["So and and end."]),
        ("A }} b {{c}} d", ["A }} b d"]),
        ("{{flag|x}} || 3", []),
        ("Lost {{from here on", []),
        ("Lost {{a}} {{b {{c}} too", []),
        ("}}{{", []),
        ("{{alone}}", []),
        ("One { brace } each {a}", ["One { brace } each {a}"]),
    ],
)
def test_templates_are_cut_out_of_their_line(line, expected):
    [document] = made("wiki", f'<doc id="1" title="t">\nt\n\nBefore.\n{line}\n</doc>\n')
    assert document == ["Before.", *expected]
    assert document.dropped == (not expected and line != "}}{{")


def test_json_lines_are_the_articles_they_hold():
    """With the title before the text, as WikiExtractor 2 writes it, and without, as 3 does."""
    articles = [
        {"id": "1", "url": "u", "title": 'Tom & "J"', "text": 'Tom & "J"\n\nTom is a cat.\nJerry &lt; Tom.'},
        {"id": "2", "revid": "9", "url": "u", "title": "Stub", "text": ""},
        {"id": "3", "url": "u", "title": "Noon", "text": "At noon.<br>\n|- style\nA \ud83d half, a 👩."},
        {"text": "No title.\n\nAt all."},
    ]
    lines = [json.dumps(article, ensure_ascii=i % 2 == 0) for i, article in enumerate(articles)]
    assert made("json", "\ufeff" + "\r\n".join(lines) + "\n\n") == [
        ["Tom is a cat.", "Jerry < Tom."],
        [],
        ["At noon.", "A half, a 👩."],
        ["No title.", "At all."],
    ]


@pytest.mark.parametrize("line", ['{"id": "1"}', '{"text": 1}', '["text"]', '{"text": "cut', "prose"])
def test_a_line_that_holds_no_article_is_named(line):
    with pytest.raises(DataError, match=r'^file line 2 is not a JSON object with a "text"'):
        made("json", '{"text": "prose"}\n' + line + "\n")


def test_a_books_paragraphs_become_lines():
    assert made("book", BOOK) == [
        ["THE TITLE", "It was a well-known fact that-- nobody knew", "snake_case_name"]
    ]


def test_blank_lines_separate_documents_of_text():
    assert made("text", "\n\none\ntwo <b>\n \n\nthree\n") == [["one", "two <b>"], ["three"]]


@pytest.mark.parametrize("kind", ["wiki", "text", "book"])
def test_control_characters_are_out_and_joiners_stay(kind):
    body = "a\x00b\x07 c\xa0d\te\u2028f\u200bg 👩\u200d👧"
    text = f'<doc id="1" title="t">\nt\n\n{body}\n</doc>\n' if kind == "wiki" else body
    assert made(kind, text) == [["ab c d e fg 👩\u200d👧"]]


def test_text_outside_an_article_names_its_line():
    with pytest.raises(DataError, match=r"^file line 3 is text outside <doc"):
        made("wiki", '<doc id="1" title="t">\n</doc>\nstray\n')
