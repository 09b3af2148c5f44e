"""Names of methods as plots have room for them."""

import textwrap

WIDTH = 28  # characters, about two inches


def wrapped(name: str) -> str:
    """In lines of WIDTH characters, or of a word that is longer; flags are not torn apart."""
    return textwrap.fill(name, WIDTH, break_long_words=False, break_on_hyphens=False)
