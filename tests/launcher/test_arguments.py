import argparse

import pytest

from launcher.arguments import Parser, positive, rate, split


def test_numbers_are_read():
    assert (positive("3"), rate("5e-5")) == (3, 5e-5)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (positive, "0"),
        (positive, "-1"),
        (positive, "1.5"),
        (rate, "0"),
        (rate, "5"),
        (rate, "nan"),
        (rate, "x"),
    ],
)
def test_what_is_no_such_number_is_quoted(read, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not a "):
        read(text)


@pytest.mark.parametrize(
    ("given", "own", "flags"),
    [
        (["--lr", "1"], ["--lr", "1"], []),
        (["--cpu", "--", "--patience", "2"], ["--cpu"], ["--patience", "2"]),
        (["--", "a", "--", "b"], [], ["a", "--", "b"]),
    ],
)
def test_the_first_two_hyphens_alone_part_the_flags(given, own, flags):
    assert split(given) == (own, flags)


def test_a_wrong_flag_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        Parser("It trains.").parse_args(["--wrong"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "Cannot start: unrecognized arguments: --wrong (--help shows all flags).\n"
    )
