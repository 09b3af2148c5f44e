"""How a command says that it cannot start: sentences, not a traceback."""

from collections.abc import Sequence


class CannotStart(SystemExit):
    """Ends a command with exit status 1 and its problems on standard error.

    Each problem is one sentence with three parts: what was given (naming the flag), what was
    found, what to do. A single problem is printed alone, several as a list.
    """

    def __init__(self, *problems: str, doing: str = "start") -> None:
        self.problems: Sequence[str] = problems
        if len(problems) == 1:
            super().__init__(f"Cannot {doing}: {problems[0]}")
        else:
            super().__init__("\n  ".join([f"Cannot {doing}:", *problems]))
