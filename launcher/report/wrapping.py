"""Wraps the names of methods in plots."""

import textwrap

WIDTH = 28  # characters, about two inches


def wrap_name(name: str) -> str:
    """Wrap a name to lines of WIDTH characters, without breaking words or flags."""
    return textwrap.fill(name, WIDTH, break_long_words=False, break_on_hyphens=False)
