import pytest

from launcher.report import plots
from launcher.report.plots import curve, draw_cost, draw_curves, draw_heatmap
from launcher.report.study import study
from launcher.results.cells import group_runs, sorted_cells
from launcher.results.runs import Score
from tests.launcher.report.folders import classes_with, read, spec, write_log, write_run, write_two_stages

ACCURACY = Score("valid", "accuracy")


def studied(group):
    notes = []
    return study(
        "SST-2",
        sorted_cells(group_runs(read(group), notes.append), "kd"),
        "kd",
        samples=100,
        seed=1,
        note=notes.append,
    )


def test_second_stages_continue_the_updates_of_their_first(group):
    runs = {run.name: run for run in read(group)}
    every = group_runs(list(runs.values()), pytest.fail)
    by_method = {cell.method: cell for cell in every if cell.init == "0,1,2"}
    assert curve(by_method["kd"], runs, ACCURACY) == {250: [88, 86], 500: [90, 88]}
    assert curve(by_method["att_kl_learn"], runs, ACCURACY) == {750: [90, 89], 1000: [92, 91]}


def test_curve_has_the_updates_of_all_seeds(tmp_path):
    for seed, updates in ((1, (10, 20)), (2, (10, 30)), (3, (10, 20))):
        folder = write_run(tmp_path, spec(seed=seed), classes_with(4))
        write_log(folder, {update: {"accuracy": 80 + seed} for update in updates})
    (cell,) = sorted_cells(group_runs(read(tmp_path), pytest.fail), "kd")
    assert curve(cell, {}, ACCURACY) == {10: [81, 82, 83]}

    (folder / "log.txt").unlink()
    assert curve(cell, {}, ACCURACY) == {}


@pytest.mark.slow
def test_each_init_has_a_panel_and_each_method_a_line(group):
    figure = draw_curves(studied(group), read(group))
    left, right = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["init 0,1,2", "init 3,4,5"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["kd", "att_kl_learn"]
    assert {tuple(line.get_ydata()) for line in left.lines} == {(87, 89), (89.5, 91.5)}
    assert {line.get_color() for line in left.lines} == {"#000000", "#0072B2"}


def test_bar_of_one_validation_reaches_from_lowest_to_highest(tmp_path):
    for method in ("kd", "crd"):
        for seed, score in enumerate((81, 82, 86), start=1):
            run = write_run(tmp_path, spec(method, seed=seed, mapping=""), classes_with(4))
            write_log(run, {250: {"accuracy": score}})
    figure = draw_curves(studied(tmp_path), read(tmp_path))
    (axes,) = figure.axes
    bars = [tuple(y for _, y in bar.get_segments()[0]) for bar in axes.collections]
    assert bars == [(81, 86)] * 2
    assert figure.get_suptitle() == "SST-2: mean over seeds, range from lowest to highest"
    assert axes.get_ylim()[0] < 81 < 86 < axes.get_ylim()[1]


def test_panel_has_at_most_eight_lines_and_the_baseline_in_each_row(tmp_path):
    for method in ("none", "kd", *"abcde"):
        write_run(tmp_path, spec(method, mapping=""), classes_with(4))
    for mapping in ("skip", "last", "combine"):
        write_run(tmp_path, spec("hidden_mse_learn", mapping=mapping), classes_with(4))
    figure = draw_curves(studied(tmp_path), read(tmp_path))

    first, second = ([text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes)
    assert first == ["kd", "none", *"abcde", "hidden_mse_learn combine"]
    assert second == ["kd", "hidden_mse_learn last", "hidden_mse_learn skip"]


def points(axes) -> set[tuple[float, float]]:
    """Return the markers of a panel, without the ends of the bars."""
    return {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() not in "_|"
    }


def test_scores_are_drawn_over_training_time_and_memory_with_their_deviation(group):
    left, right, left_memory, right_memory = draw_cost(studied(group)).axes
    assert points(left) == {(100, 89), (150, 91.5)}  # seconds of both stages
    assert points(right) == {(100, 79), (150, 78)}
    assert points(left_memory) == {(3, 89), (3, 91.5)}
    assert points(right_memory) == {(3, 79), (3, 78)}
    ends = [segment[:, 1].tolist() for bar in left.collections for segment in bar.get_segments()]
    assert ends == [
        pytest.approx([89 - 2**0.5, 89 + 2**0.5]),
        pytest.approx([91.5 - 0.5**0.5, 91.5 + 0.5**0.5]),
    ]
    assert (left.get_xscale(), left.get_xlim()) == ("linear", (0, pytest.approx(157.5)))
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["kd", "att_kl_learn"]


def test_costs_that_differ_by_far_have_a_logarithmic_axis_and_each_method_its_own_marker(tmp_path):
    for number, method in enumerate(("kd", *"abcdefgh"), start=1):
        write_run(tmp_path, spec(method, mapping=""), classes_with(4), seconds=10.0 * number**2)
    (axes,) = draw_cost(studied(tmp_path)).axes  # no memory was recorded
    assert axes.get_xscale() == "log"
    markers = [line for line in axes.lines if line.get_marker() not in "_|"]
    looks = {(line.get_color(), line.get_marker(), line.get_fillstyle()) for line in markers}
    assert len(looks) == len(markers) == 9


@pytest.mark.slow
def test_heat_map_has_every_cell(group):
    write_two_stages(group, spec("att_mse_learn", "0,1,2", 1), classes_with(10))
    axes, _ = draw_heatmap(studied(group)).axes
    image = axes.images[0].get_array()
    assert image.tolist() == [[89, 79], [91.5, 78], [95, None]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kd", "att_kl_learn", "att_mse_learn"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0,1,2", "3,4,5"]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[0, 1] == "91.50 ± 0.71"
    assert texts[0, 2] == "95.00\n1 of 2 seeds"


def test_cell_without_a_score_is_a_dash(group):
    unfinished = write_run(group, spec("crd", mapping="", init="0,1,2"), classes_with(4))
    (unfinished / "result.json").unlink()
    axes, _ = draw_heatmap(studied(group)).axes
    assert {text.get_position(): text.get_text() for text in axes.texts}[0, 2] == "-"


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_names_have_the_flags_that_differ_and_fit_into_plots(tmp_path):
    common = {"--clip-norm": "1.0", "--autocast": "bf16"}
    write_run(tmp_path, spec(overrides=common, mapping=""), classes_with(4))
    for own in ({}, {"--inter-weight": "100", "--gate-lr": "1e-6", "--gate-weight-decay": "0.01"}):
        write_run(tmp_path, spec("lad", overrides=common | own, mapping=""), classes_with(4))

    found = studied(tmp_path)
    assert dict(found.shared) == common
    assert list(found.names.values()) == [
        "kd",
        "lad",
        "lad --inter-weight 100 --gate-lr 1e-6 --gate-weight-decay 0.01",
    ]
    curves, heatmap = draw_curves(found, read(tmp_path)), draw_heatmap(found)
    for figure in (curves, heatmap):
        plots.save(figure, tmp_path / "plot.png")
    lines = "lad --inter-weight 100\n--gate-lr 1e-6\n--gate-weight-decay 0.01"
    assert [text.get_text() for text in curves.axes[0].get_legend().get_texts()] == ["kd", "lad", lines]
    assert heatmap.axes[0].get_yticklabels()[-1].get_text() == lines
    assert heatmap.axes[0].get_window_extent().width > 1.5 * heatmap.dpi


@pytest.mark.slow
def test_equal_runs_give_equal_files(group, tmp_path, drawn):
    import matplotlib

    contents = []
    for size in (5, 20):
        with matplotlib.rc_context({"font.size": size}):  # the user's own settings
            written = plots.draw(studied(group), read(group), tmp_path)
        contents.append([path.read_bytes() for path in written.values()])
    assert contents[0] == contents[1]
    assert [path.name for path in written.values()] == [
        "init-method-SST-2.png", "curves-SST-2.png", "cost-SST-2.png"
    ]  # fmt: skip
    assert all(content.startswith(b"\x89PNG") for content in contents[0])


def test_noise_does_not_fill_a_plot(tmp_path):
    write_run(tmp_path, spec(), classes_with(20))
    write_run(tmp_path, spec("none"), classes_with(19))
    assert draw_heatmap(studied(tmp_path)).axes[0].images[0].get_clim() == (90.25 - 2, 90.25 + 2)

    (axes,) = draw_curves(studied(tmp_path), read(tmp_path)).axes  # from 88 to 90.5
    assert axes.get_ylim() == pytest.approx((89.25 - 2, 89.25 + 2))
