"""The heat map of an alp_kd run, read from its log."""

import json

import pytest

from scripts.plot_layer_attention import attention, main


def validation(update: int, **scores: float) -> str:
    values = {"epoch": 1, **{f"valid_{name}": str(value) for name, value in scores.items()}}
    return f"2026-01-01 | INFO | valid | {json.dumps({**values, 'valid_num_updates': str(update)})}\n"


@pytest.fixture
def run(tmp_path):
    lines = [
        "a line of another kind\n",
        validation(10, loss=1.0, alpha_1_1=0.5, alpha_1_2=0.5, alpha_2_2=1.0),
        validation(20, loss=0.9, alpha_1_1=0.25, alpha_1_2=0.75, alpha_2_2=1.0),
    ]
    (tmp_path / "log.txt").write_text("".join(lines))
    return tmp_path


def test_last_validation_is_drawn(run, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr("scripts.plot_layer_attention.draw", lambda *what: drawn.append(what))
    assert main([str(run)]) == 0
    assert main([str(run / "log.txt"), "--update", "10", "--out", str(run / "x.png")]) == 0
    (last, title, place), (first, _, elsewhere) = drawn
    assert last == {(1, 1): 0.25, (1, 2): 0.75, (2, 2): 1.0}
    assert first[1, 1] == 0.5
    assert title.endswith("update 20")
    assert (place, elsewhere) == (run / "layer_attention.png", run / "x.png")
    assert capsys.readouterr().out.splitlines()[0] == str(place)


@pytest.mark.slow
def test_output_is_a_png(run):
    pytest.importorskip("matplotlib")
    assert main([str(run)]) == 0
    assert (run / "layer_attention.png").read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob("*.new"))


def test_only_attention_metrics_are_read():
    assert attention({"loss": 1.0, "alpha_2_11": 0.5, "alpha_mean": 3.0}) == {(2, 11): 0.5}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere cannot be read (No such file or directory)"),
        (["{run}", "--out", "{run}/empty/x.png"], "--out {run}/empty/x.png cannot be written"),
        (["{run}/empty"], "empty has no attention over layers"),
        (["{run}", "--update", "11"], "--update 11 was not validated: choose among 10, 20"),
    ],
)
def test_invalid_input_is_an_error(run, arguments, sentence, capsys):
    pytest.importorskip("matplotlib")
    (run / "empty").write_text(validation(5, loss=1.0))
    with pytest.raises(SystemExit):
        main([word.format(run=run) for word in arguments])
    error = capsys.readouterr().err
    assert sentence.format(run=run) in error
    assert error.count("\n") == 1
