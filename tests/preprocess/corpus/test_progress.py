from types import SimpleNamespace

from preprocess.corpus import progress

MIB = 1 << 20


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, capsys):
    clock = iter([100.0, 110.0, 140.0, 150.0, 175.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    sizes = [2 * MIB, 8 * MIB, 2 * MIB, 3 * MIB]
    assert list(progress.show_progress(iter(sizes), total=120 * MIB, done=5 * MIB)) == sizes
    assert capsys.readouterr().err.splitlines() == [
        "encoding: 15.0 of 120.0 MiB, 0.25 MiB/s, 0:07:00 left",
        "encoding: 20.0 of 120.0 MiB, 0.20 MiB/s, 0:08:20 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    assert list(progress.show_progress(iter([MIB]), total=2 * MIB, done=MIB)) == [MIB]
    assert "encoding" in (shown := capsys.readouterr().err)
    assert "left" not in shown
