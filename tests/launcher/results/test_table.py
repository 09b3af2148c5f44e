import csv
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.results import table
from launcher.results.cells import Cell, group_runs
from launcher.results.runs import Run

METRICS = {"MRPC": "accuracy"}


def finished(spec, best: float | None) -> Run:
    """Return a run with a score, or an unfinished one."""
    result = {"seconds": 10.0, "metric": "accuracy", "at_best": {"valid": {"accuracy": best}}}
    return Run(Path("g") / spec.name, spec, None if best is None else result)


def test_a_row_is_mean_and_sample_deviation_over_the_finished_seeds(spec):
    scores = (80.0, 82.0, 87.0, None)
    cells = group_runs(
        [finished(replace(spec, seed=seed), best) for seed, best in enumerate(scores, start=1)], print
    )
    text = table.markdown(cells, METRICS)
    assert text.splitlines()[0].endswith("| metric | dev, mean ± sd | seeds | seconds a seed |")
    assert "| accuracy | 83.00 ± 3.61 | 3 of 4 | 10 |" in text
    assert table.as_csv(cells, METRICS).splitlines() == [
        "task,method,init,mapping,stages,metric,batch_size,lr,mean,deviation,seeds,planned,"
        "seconds_per_seed,scores,tried,best_of_tried",
        'MRPC,att_kl_learn,"0,1,2","0:0,1:4",one,accuracy,16,1e-05,83.0000,3.6056,3,4,10.0,'
        "1:80.0 2:82.0 3:87.0,1,1",
    ]


def tried(spec, scores: dict[tuple[int, float], list[float]]) -> list[Cell]:
    """Return cells of batch sizes and rates with the scores of their seeds; seeds without a score are not finished."""
    runs = []
    for (batch_size, lr), of_seeds in scores.items():
        for seed, best in zip((1, 2), [*of_seeds, None, None], strict=False):
            runs.append(finished(replace(spec, batch_size=batch_size, lr=lr, seed=seed), best))
    return group_runs(runs, print)


def test_a_row_is_the_best_of_its_settings_and_names_their_number(spec):
    few = {(16, 1e-5): [80.0, 82.0], (16, 3e-5): [85.0, 84.0], (32, 1e-5): [70.0], (32, 3e-5): []}
    cells = tried(spec, few) + tried(replace(spec, init="all"), {(16, 1e-5): [90.0, 91.0]})
    text = table.markdown(cells, METRICS)

    head, _, *best = text.split("\n\n")[0].splitlines()
    assert head.endswith("| metric | dev, mean ± sd | chosen | batch | lr | seeds | seconds a seed |")
    assert [line.split("accuracy | ")[1] for line in best] == [
        "84.50 ± 0.71 | best of 2 of 4 | 16 | 3e-05 | 2 | 10 |",
        "90.50 ± 0.71 | best of 1 | 16 | 1e-05 | 2 | 10 |",
    ]
    assert (
        "they increase with the number of combinations tried. All, by batch size and learning rate:" in text
    )
    head, _, *every = text.split("\n\n")[2].splitlines()
    assert head.endswith("| stages | 16, 1e-05 | 16, 3e-05 | 32, 1e-05 | 32, 3e-05 |")
    assert [line.split("one | ")[1] for line in every] == [
        "81.00 | **84.50** | 70.00 | - |",
        "**90.50** | - | - | - |",
    ]
    lines = list(csv.DictReader(table.as_csv(cells, METRICS).splitlines()))
    columns = ("batch_size", "lr", "mean", "tried", "best_of_tried")
    assert [tuple(line[name] for name in columns) for line in lines] == [
        ("16", "1e-05", "81.0000", "4", "0"),
        ("16", "3e-05", "84.5000", "4", "1"),
        ("32", "1e-05", "70.0000", "4", "0"),
        ("32", "3e-05", "", "4", "0"),
        ("16", "1e-05", "90.5000", "1", "1"),
    ]


@pytest.mark.parametrize(
    ("scores", "row"),
    [
        # Settings with equal means are counted, and all of them are bold.
        ({(8, 1e-5): [80, 83], (8, 3e-5): [81, 82], (9, 1e-5): [81.5]}, "best of 2 of 3, 2 alike | 8 | 1e-05"),
        ({(16, 1e-5): [80, 83], (16, 3e-5): [81, 82], (32, 1e-5): [81.5]}, "**81.50** | **81.50** | 81.50"),
        ({(16, 1e-5): [81.501], (16, 3e-5): [81.504]}, "81.50 | best of 2, 2 alike | 16 | 3e-05"),
        # One lucky seed is not the best.
        ({(16, 1e-5): [80.0, 82.0], (16, 3e-5): [95.0]}, "81.00 ± 1.41 | best of 1 of 2 | 16 | 1e-05"),
        # Nothing is finished.
        ({(16, 1e-5): [], (16, 3e-5): []}, "accuracy | - | best of 0 of 2 | - | - | 0 of 2 | -"),
        ({(16, 1e-5): []}, "accuracy | - | 0 of 2 | -"),
    ],
)  # fmt: skip
def test_the_best_of_several_settings(spec, scores, row):
    assert f"| {row} |" in table.markdown(tried(spec, scores), METRICS)
