"""report.html: the content of the Markdown report on one page, which loads nothing."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from launcher.report import plots
from launcher.report.command import main
from tests.launcher.report.folders import classes_with, spec, write_run, write_two_stages


class Page(HTMLParser):
    """The texts, attributes and tables of a page; drawings of intervals have no text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("meta", "img"):
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] = (self.tables[-1][-1][-1] + data).strip()


def write_plot(study, runs, folder):
    """Write the header of a PNG with 300 x 150 pixels in place of the plots."""
    path = folder / f"curves-{study.task}.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d 49484452 0000012c 00000096"))
    return {"Learning curves": path}


def read_page(group) -> Page:
    return Page((group / "report" / "report.html").read_text("utf-8"))


@pytest.mark.slow
def test_tables_explanation_and_notes_are_those_of_the_markdown_report(group, report):
    next(group.glob("*kd-3_4_5*seed2*/predictions/valid.npz")).unlink()
    report()
    markdown = (group / "report" / "report.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if re.match(r"\|(?! ---)", line)]
    shown = read_page(group)
    assert [row for table in shown.tables for row in table] == [
        [value.strip("*") for value in row] for row in rows
    ]
    assert shown.texts["strong"] == ["91.50 ± 0.71"]
    text = "".join(shown.texts["main"])
    for line in re.split("## (?:How to read this|Notes)", markdown, maxsplit=1)[1].splitlines():
        assert line.removeprefix("* ").replace("`", "").removeprefix("## ") in text
    assert "have no predictions of valid" in text


def test_interval_is_drawn_around_its_zero(group, report):
    report()
    html = (group / "report" / "report.html").read_text()
    drawn = re.findall(
        r'<svg class="(\w*)".*?d="M(-?[\d.]+) 0H(-?[\d.]+)".*?cx="(-?[\d.]+)"', html, re.DOTALL
    )
    classes, *numbers = zip(*drawn, strict=True)
    # The intervals of the table are [0.50, 4.88], [-2.50, 0.00], [-14.00, -6.00], [-18.50, -8.62].
    assert classes == ("above", "", "below", "below")
    for low, value, high in zip(numbers[0], numbers[2], numbers[1], strict=True):
        assert -50 <= float(low) < float(value) < float(high) <= 50
    assert max(abs(float(end)) for end in (*numbers[0][:2], *numbers[1][:2])) == 50


def test_page_contains_its_plots_loads_nothing_and_is_reproducible(group, report, monkeypatch):
    monkeypatch.setattr(plots, "draw", write_plot)
    report()
    first = (group / "report" / "report.html").read_text()
    report()
    assert (group / "report" / "report.html").read_text() == first
    content = (group / "report" / "curves-SST-2.png").read_bytes()
    attributes = Page(first).attributes
    plot = {name: value for tag, name, value in attributes if tag == "img"}
    assert base64.b64decode(plot["src"].removeprefix("data:image/png;base64,")) == content
    # 2 x 1 inches at 96 pixels per inch.
    assert (plot["width"], plot["height"], plot["alt"]) == ("192", "96", "Learning curves of SST-2")
    loading = {value for _, name, value in attributes if name in ("src", "srcset", "href", "data", "action")}
    assert all(value.startswith(("data:", "#")) for value in loading)
    assert not re.search(r"@import|url\(|https?://", first)


def test_names_flags_and_commands_are_escaped(tmp_path):
    name, flag = '<script>alert(1)<img src="x">', "</td><b onclick='x'>"
    for init in (name, "plain"):
        run = spec("none", init, start="s" * 64, overrides={"--x": flag} if init == name else {})
        folder = write_run(tmp_path / "<i>", run, classes_with(20))
        (folder / "command.txt").write_text(f"fairseq-train '{flag}'</pre><script>\n")
    assert main(["--out", str(tmp_path), "--group", "<i>", "--samples", "100"]) == 0
    shown = Page((tmp_path / "<i>" / "report" / "report.html").read_text())
    assert shown.texts["h1"] == ["Group <i>"]
    assert len(shown.texts["script"]) == 1
    assert not {"b", "i", "img"} & set(shown.texts)
    assert name in {value for row in shown.tables[0] for value in row}
    assert f"fairseq-train '{flag}'</pre><script>" in shown.texts["pre"][0]


def test_each_row_links_to_the_commands_of_its_runs_in_order(group, report):
    for path in group.glob("SST-2-*0_1_2*"):
        (path / "command.txt").write_text(f"fairseq-train --save-dir {path.name}\n")
    report()
    shown = read_page(group)
    targets = [value for tag, name, value in shown.attributes if (tag, name) == ("a", "href")]
    anchors = [value for tag, name, value in shown.attributes if (tag, name) == ("pre", "id")]
    assert targets == [f"#{anchor}" for anchor in anchors]
    assert shown.texts["summary"] == ["kd, init 0,1,2: 2 runs", "att_kl_learn, init 0,1,2: 4 runs"]
    names = re.findall(r"^# (.*)\nfairseq-train --save-dir \1$", shown.texts["pre"][1], re.MULTILINE)
    assert [re.search(r"(first|second)-(seed\d)", name).groups() for name in names] == [
        ("first", "seed1"), ("second", "seed1"), ("first", "seed2"), ("second", "seed2")
    ]  # fmt: skip


def test_summary_names_commits_devices_and_the_newest_run(group, report):
    log = next(group.glob("*seed2*/log.txt"))
    log.write_text(log.read_text() + "[2001-02-03 04:05:06,789][fairseq][INFO] - done\n")
    report()
    shown = read_page(group)
    found = dict(zip(shown.texts["dt"], shown.texts["dd"], strict=True))
    assert found == {
        "Tasks": "SST-2",
        "Runs": "12 of 12 runs that were started are finished, first stages included.",
        "Newest run": "2001-02-03 04:05",
    }


def test_attention_and_gates_are_means_over_seeds_of_the_stage_that_logs_them(tmp_path):
    group = tmp_path / "g"
    write_run(group, spec("kd"), classes_with(20))
    for seed, share in ((1, 0.2), (2, 0.4)):
        write_run(group, spec("alp_kd", mapping="", seed=seed), classes_with(20), more={"valid": {
            "loss": 0.5, "accuracy": 90.0, "alpha_1_1": share, "alpha_1_2": 1 - share, "alpha_2_2": 1.0}})  # fmt: skip
    gated = {"loss": 0.5, "gate_2": 0.25, "gate_4": 0.75, "gate_mean": 0.5}
    first = spec("lad", stage="first")
    write_run(group, first, score=0.5, metric="loss", more={"valid": gated})
    write_two_stages(group, spec("lad"), classes_with(20))
    assert main(["--out", str(tmp_path), "--group", "g", "--samples", "100"]) == 0

    shown = read_page(group)
    assert shown.tables[1:] == [
        [["student layer", "1", "2"], ["2", "", "1.00"], ["1", "0.30", "0.70"]],
        [["cell", "2", "4"], ["lad, init 0,1,2", "0.25", "0.75"]],
    ]
    styles = [value for tag, name, value in shown.attributes if (tag, name) == ("td", "style")]
    assert styles == ["--share: 1.0", "--share: 0.3", "--share: 0.7", "--share: 0.25", "--share: 0.75"]


# Clicks on the headers, and records the texts of a column and the orders of all columns after each click.
CLICKS = """
const [table] = document.querySelectorAll("table.sortable"), recorded = [];
for (const [title, column] of clicks) {
  [...table.querySelectorAll("button")].find((button) => button.textContent === title).click();
  recorded.push([
    [...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim()),
    [...table.tHead.rows[0].cells].flatMap((cell) => cell.ariaSort ? [cell.textContent, cell.ariaSort] : []),
  ]);
}
document.body.append(Object.assign(document.createElement("output"), { textContent: JSON.stringify(recorded) }));
table.querySelector("a").click();
"""


@pytest.mark.chromium
@pytest.mark.slow
def test_browser_sorts_columns_by_number_or_text_and_opens_the_command_of_a_row(tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs chromium on PATH")
    group = tmp_path / "g"
    wrong = {("kd", "10,11"): 20, ("crd", "2,3"): 4, ("none", "10,11"): 100, ("sda", "2,3"): 195}
    for (method, init), mistakes in wrong.items():
        folder = write_run(group, spec(method, init, mapping=""), classes_with(mistakes))
        (folder / "command.txt").write_text("fairseq-train\n")
    assert main(["--out", str(tmp_path), "--group", "g", "--samples", "100"]) == 0

    against = "vs kd [95 %]"
    clicks = [("accuracy", 4), ("accuracy", 4), ("init", 1), (against, 0), (against, 0)]
    html = (group / "report" / "report.html").read_text()
    script = f"<script>{{ const clicks = {json.dumps(clicks)}; {CLICKS} }}</script></body>"
    (tmp_path / "page.html").write_text(html.replace("</body>", script))
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command += ["--virtual-time-budget=1000", "--dump-dom", (tmp_path / "page.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    shown = Page(dom)
    scores = ["2.50", "50.00", "90.00", "98.00"]
    assert json.loads(shown.texts["output"][0]) == [
        [scores, ["accuracy", "ascending"]],
        [scores[::-1], ["accuracy", "descending"]],
        [["2,3", "2,3", "10,11", "10,11"], ["init", "ascending"]],
        # Only `none` is compared with kd: the others, without a value, come last.
        [["none", "crd", "sda", "kd"], [against, "ascending"]],
        [["none", "crd", "sda", "kd"], [against, "descending"]],
    ]
    assert dom.count("<details open") == 1
