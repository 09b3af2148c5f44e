"""The exception that ends a command with error messages instead of a traceback."""

from collections.abc import Sequence


class CannotStart(SystemExit):
    """Ends a command with exit status 1 and prints error messages on standard error.

    errors  messages; each names the flag and its value, what was found, and the fix
    doing   the action that failed, as in "Cannot start"
    """

    def __init__(self, *errors: str, doing: str = "start") -> None:
        self.errors: Sequence[str] = errors
        if len(errors) == 1:
            super().__init__(f"Cannot {doing}: {errors[0]}")
        else:
            super().__init__("\n  ".join([f"Cannot {doing}:", *errors]))
