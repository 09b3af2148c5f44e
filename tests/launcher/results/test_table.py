import csv
from dataclasses import replace

import pytest

from launcher.results import table
from launcher.results.outcome import Outcome


def finished(best: float) -> Outcome:
    return Outcome({"best": best, "seconds": 10.0, "metric": "accuracy"})


def test_a_row_is_mean_and_sample_deviation_over_the_seeds_that_finished(spec):
    runs = [replace(spec, seed=seed) for seed in (1, 2, 3, 4)]
    outcomes = {run.name: finished(best) for run, best in zip(runs, (80.0, 82.0, 87.0), strict=False)}
    outcomes[runs[3].name] = Outcome(None, "exit status 1")

    (row,) = table.rows(runs, outcomes, {"MRPC": "accuracy"})

    assert row.mean == 83.0
    assert row.deviation == pytest.approx(((9 + 1 + 16) / 2) ** 0.5)
    text = table.markdown([row])
    assert text.splitlines()[0].endswith("| metric | dev, mean ± sd | seeds | seconds a seed |")
    assert "| accuracy | 83.00 ± 3.61 | 3 of 4 | 10 |" in text
    assert table.as_csv([row]).splitlines() == [
        "task,method,init,mapping,stages,metric,batch_size,lr,mean,deviation,seeds,planned,"
        "seconds_per_seed,scores,tried,best_of_tried",
        'MRPC,att_kl_learn,"0,1,2","0:0,1:4",one,accuracy,16,1e-05,83.0000,3.6056,3,4,10.0,'
        "1:80.0 2:82.0 3:87.0,1,1",
    ]


def test_first_stages_have_no_row_and_their_time_counts(spec):
    first = replace(spec, stage="first")
    second = replace(spec, stage="second", after=first.name)
    outcomes = {first.name: finished(0.1), second.name: finished(81.0)}

    (row,) = table.rows([first, second], outcomes, {"MRPC": "accuracy"})
    assert (row.stages, row.seconds, row.mean, row.deviation) == ("two", 20.0, 81.0, None)


def test_a_cell_where_nothing_finished_is_a_dash(spec):
    text = table.markdown(table.rows([spec], {}, {"MRPC": "accuracy"}))
    assert "| accuracy | - | 0 of 1 | - |" in text


def tried(spec, scores: dict[tuple[int, float], list[float]]) -> list[table.Row]:
    """Rows of batch sizes and rates with the scores of their seeds; seeds without a score are not finished."""
    runs, outcomes = [], {}
    for (batch_size, lr), of_seeds in scores.items():
        for seed in (1, 2):
            run = replace(spec, batch_size=batch_size, lr=lr, seed=seed)
            runs.append(run)
            if seed <= len(of_seeds):
                outcomes[run.name] = finished(of_seeds[seed - 1])
    return table.rows(runs, outcomes, {"MRPC": "accuracy"})


def test_a_cell_is_the_best_of_its_grid_and_says_of_how_many(spec):
    few = {(16, 1e-5): [80.0, 82.0], (16, 3e-5): [85.0, 84.0], (32, 1e-5): [70.0], (32, 3e-5): []}
    found = tried(spec, few) + tried(replace(spec, init="all"), {(16, 1e-5): [90.0, 91.0]})
    text = table.markdown(found)

    head, _, *best = text.split("\n\n")[0].splitlines()
    assert head.endswith("| metric | dev, mean ± sd | chosen | batch | lr | seeds | seconds a seed |")
    assert [line.split("accuracy | ")[1] for line in best] == [
        "84.50 ± 0.71 | best of 2 of 4 | 16 | 3e-05 | 2 | 10 |",
        "90.50 ± 0.71 | best of 1 | 16 | 1e-05 | 2 | 10 |",
    ]
    assert "they come out higher the more of them were tried. All, by batch size and learning rate:" in text
    head, _, *every = text.split("\n\n")[2].splitlines()
    assert head.endswith("| stages | 16, 1e-05 | 16, 3e-05 | 32, 1e-05 | 32, 3e-05 |")
    assert [line.split("one | ")[1] for line in every] == [
        "81.00 | **84.50** | 70.00 | - |",
        "**90.50** | - | - | - |",
    ]


def test_settings_of_equal_means_are_said_to_be_alike_and_all_are_bold(spec):
    found = tried(
        spec, {(16, 1e-5): [80.0, 83.0], (16, 3e-5): [81.0, 82.0], (32, 1e-5): [81.5], (32, 3e-5): [70, 71]}
    )
    text = table.markdown(found)
    assert "| 81.50 ± 2.12 | best of 3 of 4, 2 alike | 16 | 1e-05 |" in text
    assert "| **81.50** | **81.50** | 81.50 | 70.50 |" in text
    assert [line[-1] for line in table.as_csv(found).splitlines()[1:]] == ["1", "0", "0", "0"]

    nearly = table.markdown(tried(spec, {(16, 1e-5): [81.501], (16, 3e-5): [81.504]}))
    assert "| 81.50 | best of 2, 2 alike | 16 | 3e-05 |" in nearly


def test_the_whole_grid_is_for_programs(spec):
    found = tried(spec, {(16, 1e-5): [80.0, 82.0], (16, 3e-5): [85.0, 84.0], (32, 1e-5): []})
    lines = list(csv.DictReader(table.as_csv(found).splitlines()))
    assert [(line["batch_size"], line["lr"], line["mean"], line["best_of_tried"]) for line in lines] == [
        ("16", "1e-05", "81.0000", "0"),
        ("16", "3e-05", "84.5000", "1"),
        ("32", "1e-05", "", "0"),
    ]
    assert {line["tried"] for line in lines} == {"3"}


def test_one_lucky_seed_is_not_the_best_of_a_grid(spec):
    found = tried(spec, {(16, 1e-5): [80.0, 82.0], (16, 3e-5): [95.0]})
    assert "| 81.00 ± 1.41 | best of 1 of 2 | 16 | 1e-05 |" in table.markdown(found)


def test_nothing_is_the_best_of_a_grid_where_nothing_finished(spec):
    text = table.markdown(tried(spec, {(16, 1e-5): [], (16, 3e-5): []}))
    assert "| accuracy | - | best of 0 of 2 | - | - | 0 of 2 | - |" in text
