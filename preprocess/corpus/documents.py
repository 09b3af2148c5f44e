"""From a file's text to documents, each a list of clean paragraphs."""

import json
import re
from collections.abc import Callable, Iterator
from html import unescape

from ..errors import DataError

TITLE = re.compile(r'title="(.*)">\s*$')

# What a text may hold that neither prints nor spaces: control characters, soft hyphen, zero-width space, BOM.
# The zero-width joiners stay: they decide how Indic and Arabic words and emoji are read.
UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff]+")

TAGS = re.compile(
    r"</?(?:abbr|applet|b|big|blockquote|br|center|cite|code|dd|del|dfn|div|dl|dt|em|font|gallery|h[1-6]|hr|i"
    r"|imagemap|includeonly|ins|li|math|noinclude|nowiki|ol|onlyinclude|p|poem|pre|ref|references|s|score|small"
    r"|span|strike|strong|sub|sup|table|td|th|timeline|tr|tt|u|ul|var)\b[^<>]*>",
    re.IGNORECASE,
)
BRACES = re.compile(r"\{{2,}|\}{2,}")  # of templates and, three of them, of their parameters
TABLE = re.compile(r"\{\||\||!.*\||\}\}|\[\[Category:")  # how a line of one begins that WikiExtractor left
LISTED = re.compile(
    r"(?:Section::::|BULLET::::[-*#]*)\s*"
)  # how it marks headings and lists when asked to keep them
LINKS = re.compile(r"\[ ?\[[^\[\]]*\]\]")  # [[Category:...]], [ [update]]
NOTHING = re.compile(r" \(\s*[,;]*\s*\)")  # brackets whose content was a template
SEPARATOR = re.compile(r"\(\s*[,;]\s*")  # ( ; Greek word) where the first half was one

PICTURE = re.compile(r"\[(?:Illustration|Transcriber's Note)[^\[\]]*\]", re.IGNORECASE)
NUMBER = re.compile(r"\[(?:FN ?#?|p\. ?|pg ?)?\d+\]")  # of a footnote or a page
EMPHASIS = re.compile(r"(?<!\w)_([^_]+)_(?!\w)")  # _italic_
HYPHEN = re.compile(r"(?<=\w)-\n(?=\w)")  # "well-" / "known"; a dash is two


class Document(list[str]):
    """Clean paragraphs; `dropped` counts lines with words in them of which markup left nothing."""

    dropped = 0


def documents(kind: str, lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    """The documents that `lines` hold; one without text is an empty list.

    place  names file and line of the i-th of `lines`, for an error
    """
    return {"wiki": _articles, "json": _objects, "text": _blocks, "book": _book}[kind](lines, place)


def _articles(lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    article: list[str] | None = None
    title = None
    for i, line in enumerate(lines):
        if line.startswith("<doc "):
            if article is not None:
                yield _article(title, article)
            found = TITLE.search(line)
            title, article = found and found[1], []
        elif line.rstrip() == "</doc>" and article is not None:
            yield _article(title, article)
            article = None
        elif article is not None:
            article.append(line)
        elif line.strip("\ufeff \t\r"):
            raise DataError(
                f"{place(i)} is text outside <doc ...> and </doc>: give WikiExtractor's own files, or say what "
                "the input holds with --input PATH=text or PATH=book."
            )
    if article is not None:  # WikiExtractor was stopped before its last line
        yield _article(title, article)


def _objects(lines: list[str], place: Callable[[int], str]) -> Iterator[Document]:
    for i, line in enumerate(lines):
        line = line.strip("\ufeff \t\r")
        if not line:
            continue
        found = _parsed(line)
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise DataError(
                f'{place(i)} is no JSON object that holds a "text": give the files of WikiExtractor --json, or say what '
                "the input holds with --input PATH=text or PATH=book."
            )
        text = found["text"].encode(errors="ignore").decode()  # without halves of surrogate pairs
        yield _article(str(found.get("title") or ""), text.split("\n"))


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _article(title: str | None, lines: list[str]) -> Document:
    """Without its title, which is the first line; where <doc> does not say it, a blank line comes after."""
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
    """The lines that are left when spaces are single and markup and unprinted characters are out."""
    cleaned = Document()
    for line in lines:
        text = " ".join(line.split())
        if markup is not None:
            whole, text = text, " ".join(markup(text).split())
            if not any(map(str.isalnum, text)):  # a row of stars between scenes, a full stop left alone
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
    """Without {{...}} and all that stands in it; nothing where a brace is left open: it goes on in other lines."""
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
