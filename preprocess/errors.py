"""The exception for all errors that a user can fix."""


class DataError(ValueError):
    """The message has three parts: the flag or file, the problem, the fix."""
