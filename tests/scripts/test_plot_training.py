"""Loss curves, read from logs of fairseq-train and fairseq-hydra-train."""

import json

import pytest

from scripts.plot_training import Curve, draw, main, read

TRAIN = "2026-01-01 00:00:00 | INFO | train_inner | "
VALID = "2026-01-01 00:00:00 | INFO | valid | "


def entry(update: int, loss: float, prefix: str = "") -> str:
    return json.dumps({"epoch": 1, f"{prefix}loss": str(loss), f"{prefix}num_updates": str(update)}) + "\n"


@pytest.fixture
def log(tmp_path):
    lines = [
        "a line of another kind\n",
        TRAIN + entry(10, 3.0),
        TRAIN + entry(20, 2.5),
        TRAIN + entry(20, 2.0),  # again, after an interruption
        VALID + entry(20, 2.25, "valid_"),
        TRAIN + entry(30, 1.5)[:20] + "\n",
    ]
    path = tmp_path / "run" / "log.txt"
    path.parent.mkdir()
    path.write_text("".join(lines))
    return path


def test_training_and_validation_are_read_separately(log):
    assert read("a", log, "loss") == Curve("a", {10: 3.0, 20: 2.0}, {20: 2.25})


@pytest.mark.slow
def test_png_has_all_logs(log, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    import scripts.plot_training as plot

    drawn, draw = [], plot.draw
    monkeypatch.setattr(plot, "draw", lambda curves, metric: drawn.extend(curves) or draw(curves, metric))
    out = tmp_path / "new" / "loss.png"
    assert main([str(log), f"second={log}", "--out", str(out)]) == 0
    assert [curve.name for curve in drawn] == ["run", "second"]
    assert out.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{out}\n"
    assert [path.name for path in out.parent.iterdir()] == ["loss.png"]


@pytest.mark.parametrize("last", [1, 400])
def test_ticks_are_integers_and_the_last_marker_is_inside_the_frame(last):
    pytest.importorskip("matplotlib")
    figure = draw([Curve("a", {}, {last - 1: 2.1, last: 2.0})], "loss")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    (mark,) = (line for line in axes.lines if len(line.get_xdata()))
    right = axes.transData.transform((last, 2.0))[0]
    assert axes.bbox.x1 - right > figure.dpi / 72 * mark.get_markersize()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere cannot be read (No such file or directory): give a log"),
        (["{log}", "--metric", "f1"], "log.txt has no f1: give the log of a training"),
        (["{log}"] * 10, "10 logs are too many for a plot: give at most 8"),
    ],
)
def test_invalid_input_is_an_error(log, arguments, sentence, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit) as stopped:
        main([*(text.format(log=log) for text in arguments), "--out", str(tmp_path / "x.png")])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
