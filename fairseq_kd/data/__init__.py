"""Data sets of sentences and what is recorded about them."""
