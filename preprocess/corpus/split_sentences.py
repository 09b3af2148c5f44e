"""Splits paragraphs into sentences by simple rules, which is enough for the lines of training blocks."""

import re

LONGEST = 2000  # characters; longer text (a table, a list) is cut at a space

# A sentence ends at a space after its mark and closing quotes; in scripts without spaces, directly after them.
END = re.compile(r"""[.!?…]["'”’»)\]]*(?= )|[。！？]["'”’»」』）]*""")
OPENING = "\"'“‘«([_¿¡—-"

ABBREVIATIONS = frozenset(
    """mr mrs ms dr st prof rev hon gen col capt lt sgt maj cmdr gov sen rep pres supt messrs mme mlle
    jr sr vs etc al cf eg ie viz ca approx no nos vol vols pp p ch chap sec fig figs eq ed eds trans
    inc ltd co corp bros dept univ assn ave blvd rd mt ft op ser
    jan feb mar apr jun jul aug sep sept oct nov dec""".split()
)


def sentences(paragraph: str) -> list[str]:
    """Return the sentences; joined they give the paragraph, so sentences after the first keep the space before them."""
    found, start = [], 0
    for mark in END.finditer(paragraph):
        end = mark.end()
        if end < len(paragraph) and (paragraph[end] != " " or _ends(paragraph, mark.start(), end)):
            found.append(paragraph[start:end])
            start = end
    found.append(paragraph[start:])
    if len(paragraph) <= LONGEST:
        return found
    return [part for sentence in found for part in _short(sentence)]


def _ends(paragraph: str, mark: int, end: int) -> bool:
    """Return whether a sentence ends at `end`: no abbreviation before, and no lowercase letter after the space."""
    following = paragraph[end + 1 : end + 4].lstrip(OPENING)[:1]
    if following.islower():
        return False
    if paragraph[mark] != ".":
        return True

    word = paragraph[paragraph.rfind(" ", 0, mark) + 1 : mark].lstrip(OPENING)
    initial = len(word) == 1 and word.isalpha() and word != "I"
    item = len(word) <= 2 and word.isdecimal()  # 1. of a list
    dotted = "." in word and word.replace(".", "").isalpha()  # U.S., e.g.
    return not (initial or item or dotted or word.lower() in ABBREVIATIONS)


def _short(sentence: str) -> list[str]:
    parts = []
    while len(sentence) > LONGEST:
        space = sentence.rfind(" ", 1, LONGEST)
        end = space if space > 0 else LONGEST
        parts.append(sentence[:end])
        sentence = sentence[end:]
    return [*parts, sentence]
