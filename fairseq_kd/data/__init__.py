"""Data sets of sentences and running text, their metadata, and the teacher cache."""
