"""Splits text into documents and removes markup: each document is a list of clean paragraphs."""

import json
import re
from collections.abc import Callable, Iterator
from html import unescape

from ..errors import DataError

TITLE = re.compile(r'title="(.*)">\s*$')

# Characters that neither print nor separate words: control characters, soft hyphen, zero-width space, BOM.
# Zero-width joiners are kept: they change the meaning of Indic and Arabic words and of emoji.
UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff]+")

TAGS = re.compile(
    r"</?(?:abbr|applet|b|big|blockquote|br|center|cite|code|dd|del|dfn|div|dl|dt|em|font|gallery|h[1-6]|hr|i"
    r"|imagemap|includeonly|ins|li|math|noinclude|nowiki|ol|onlyinclude|p|poem|pre|ref|references|s|score|small"
    r"|span|strike|strong|sub|sup|table|td|th|timeline|tr|tt|u|ul|var)\b[^<>]*>",
    re.IGNORECASE,
)
BRACES = re.compile(r"\{{2,}|\}{2,}")  # of templates; three for their parameters
TABLE = re.compile(r"\{\||\||!.*\||\}\}|\[\[Category:")  # start of a table line that WikiExtractor left
LISTED = re.compile(
    r"(?:Section::::|BULLET::::[-*#]*)\s*"
)  # WikiExtractor's marks of headings and lists, if it keeps them
LINKS = re.compile(r"\[ ?\[[^\[\]]*\]\]")  # [[Category:...]], [ [update]]
NOTHING = re.compile(r" \(\s*[,;]*\s*\)")  # brackets left empty by a removed template
SEPARATOR = re.compile(r"\(\s*[,;]\s*")  # ( ; Greek word) after a removed template

PICTURE = re.compile(r"\[(?:Illustration|Transcriber's Note)[^\[\]]*\]", re.IGNORECASE)
NUMBER = re.compile(r"\[(?:FN ?#?|p\. ?|pg ?)?\d+\]")  # footnote or page number
EMPHASIS = re.compile(r"(?<!\w)_([^_]+)_(?!\w)")  # _italic_
HYPHEN = re.compile(r"(?<=\w)-\n(?=\w)")  # "well-" / "known"; two hyphens are a dash


class Document(list[str]):
    """Clean paragraphs; `dropped` counts lines whose words were all markup."""

    dropped = 0


def documents(kind: str, lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    """Yield the documents in `lines`; a document without text is an empty list.

    place  returns file and line number of the i-th of `lines`, for errors

    Raises DataError if `lines` do not have the format of `kind`.
    """
    return {"wiki": _articles, "json": _objects, "text": _blocks, "book": _book}[kind](lines, place)


def _articles(lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    article: list[str] | None = None
    title: str | None = None
    for i, line in enumerate(lines):
        if line.startswith("<doc "):
            if article is not None:
                yield _article(title, article)
            found = TITLE.search(line)
            title, article = found[1] if found else None, []
        elif line.rstrip() == "</doc>" and article is not None:
            yield _article(title, article)
            article = None
        elif article is not None:
            article.append(line)
        elif line.strip("\ufeff \t\r"):
            raise DataError(
                f"{place(i)} is text outside <doc ...> and </doc>: give WikiExtractor's files, or set the "
                "format with --input PATH=text or PATH=book."
            )
    if article is not None:  # WikiExtractor was interrupted before its last line
        yield _article(title, article)


def _objects(lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    for i, line in enumerate(lines):
        line = line.strip("\ufeff \t\r")
        if not line:
            continue
        found = _parsed(line)
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise DataError(
                f'{place(i)} is not a JSON object with a "text": give the files of WikiExtractor --json, or set the '
                "format with --input PATH=text or PATH=book."
            )
        text = found["text"].encode(errors="ignore").decode()  # removes lone surrogates
        yield _article(str(found.get("title") or ""), text.split("\n"))


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _article(title: str | None, lines: list[str]) -> Document:
    """Return the paragraphs without the title: the first line if it equals `title` or precedes a blank line."""
    first = unescape(lines[0].strip()) if lines else ""
    if first == unescape(title.strip()) if title is not None else lines[1:2] == [""]:
        lines = lines[1:]
    return _paragraphs(_without_wiki_markup, lines)


def _blocks(lines: list[str], _: Callable[[int], str]) -> Iterator[Document]:
    block: list[str] = []
    for line in [*lines, ""]:
        if not line or line.isspace():
            if block:
                yield _paragraphs(None, block)
                block = []
        else:
            block.append(line)


def _book(lines: list[str], _: Callable[[int], str]) -> Iterator[Document]:
    paragraphs: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, ""]:
        stripped = line.strip("\ufeff \t\r\f\xa0")
        if stripped:
            paragraph.append(stripped)
        elif paragraph:
            paragraphs.append(HYPHEN.sub("-", "\n".join(paragraph)))
            paragraph = []
    yield _paragraphs(_without_book_markup, paragraphs)


def _paragraphs(markup: Callable[[str], str] | None, lines: list[str]) -> Document:
    """Return the lines without markup, repeated spaces and non-printing characters."""
    cleaned = Document()
    for line in lines:
        text = " ".join(line.split())
        if markup is not None:
            whole, text = text, " ".join(markup(text).split())
            if not any(map(str.isalnum, text)):  # a row of stars between scenes, or a lone full stop
                cleaned.dropped += any(map(str.isalnum, whole))
                continue
        if not text.isprintable():
            text = " ".join(UNPRINTED.sub("", text).split())
        if text:
            cleaned.append(text)
    return cleaned


def _without_wiki_markup(text: str) -> str:
    if "&" in text:
        text = unescape(text)
    if "{{" in text:
        text = _without_templates(text).lstrip()
    if TABLE.match(text):
        return ""
    if "::::" in text:
        text = LISTED.sub("", text, count=1)
    if "<" in text:
        text = TAGS.sub(" ", text)
    if "]]" in text:
        text = LINKS.sub("", text)
    if "(" in text:
        text = SEPARATOR.sub("(", NOTHING.sub("", text))
    return text


def _without_templates(text: str) -> str:
    """Return the text without {{...}}; empty if a brace is not closed, since the template continues in other lines."""
    kept, start, depth = [], 0, 0
    for braces in BRACES.finditer(text):
        if braces[0][0] == "{":
            if depth == 0:
                kept.append(text[start : braces.start()])
            depth += len(braces[0])
        elif depth:
            depth = max(0, depth - len(braces[0]))
            start = braces.end()
    return "" if depth else "".join(kept) + text[start:]


def _without_book_markup(text: str) -> str:
    if "[" in text:
        text = NUMBER.sub("", PICTURE.sub(" ", text))
    if "_" in text:
        text = EMPHASIS.sub(r"\1", text)
    return text
