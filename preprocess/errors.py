"""The one exception for everything a user can put right."""


class DataError(ValueError):
    """One sentence: what was given, what was found there, what to do."""
