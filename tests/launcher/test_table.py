from dataclasses import replace

import pytest

from launcher import table
from launcher.train import Outcome


def finished(best: float) -> Outcome:
    return Outcome({"best": best, "seconds": 10.0, "metric": "accuracy"})


def test_a_row_is_mean_and_sample_deviation_over_the_seeds_that_finished(spec):
    runs = [replace(spec, seed=seed) for seed in (1, 2, 3, 4)]
    outcomes = {run.name: finished(best) for run, best in zip(runs, (80.0, 82.0, 87.0), strict=False)}
    outcomes[runs[3].name] = Outcome(None, "exit status 1")

    (row,) = table.rows(runs, outcomes, {"MRPC": "accuracy"})

    assert row.mean == 83.0
    assert row.deviation == pytest.approx(((9 + 1 + 16) / 2) ** 0.5)
    assert "| accuracy | 83.00 ± 3.61 | 3 of 4 | 30 |" in table.markdown([row])
    assert table.as_csv([row]).splitlines()[1] == (
        'MRPC,att_kl_learn,"0,1,2","0:0,1:4",one,accuracy,83.0000,3.6056,3,30.0,1:80.0 2:82.0 3:87.0'
    )


def test_first_stages_have_no_row_and_their_time_counts(spec):
    first = replace(spec, stage="first")
    second = replace(spec, stage="second", after=first.name)
    outcomes = {first.name: finished(0.1), second.name: finished(81.0)}

    (row,) = table.rows([first, second], outcomes, {"MRPC": "accuracy"})
    assert (row.stages, row.seconds, row.mean, row.deviation) == ("two", 20.0, 81.0, None)


def test_a_cell_where_nothing_finished_is_a_dash(spec):
    text = table.markdown(table.rows([spec], {}, {"MRPC": "accuracy"}))
    assert "| accuracy | - | 0 of 1 | 0 |" in text
