import pytest

from launcher.arguments import Parser, split


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
