"""The README's commands are run, its example method trains, its tables are complete."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from fairseq_kd.describe import describe
from scripts.make_small_glue import write
from tests.processes import programs, run
from tests.tiny import ROOT, batch, build, write_data, write_teacher

README = (ROOT / "README.md").read_text()
DEMO = (ROOT / "scripts" / "demo.sh").read_text()
CRITERIONS = set(describe()["criterions"])  # here, because tests register more
DOCUMENTS = (ROOT / "docs").rglob("*.md")
ADDING = (ROOT / "docs" / "adding_a_method.md").read_text()
WORDS = "the a is not never and or film story script cast plot dull funny warm messy in its own way".split()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[str]:
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


def shortened(command: str) -> str:
    """Return the command with flags that end it after one or two updates on a CPU."""
    if command.startswith("fairseq-train"):
        return f"{command} --cpu --max-update 2"
    if command.startswith("fairseq-hydra-train"):
        return f"{command} common.cpu=true optimization.max_update=2"
    if "cache_teacher.py" in command:
        return command.replace("--workers 2 --", "--workers 1 --cpu --")
    if "prune_and_distil.py" in command:  # the README's model is wider than the one here
        small = re.sub("--layers .*", "--layers 3 --heads 2 --ffn 8 --rank 6", command)
        return f"{small} --epochs 1 --cpu --trainer fairseq-train -- --max-update 2"
    if "finetune_teacher.py" in command:
        return f"{command} --cpu -- --max-update 2"  # with the installed trainer, which a user has
    if "experiments.py --task" in command and "--dry-run" in command:
        return f"{command} --trainer fairseq-train"
    if "experiments.py --task" in command:
        return f"{command} --cpu --trainer fairseq-train -- --max-update 2"
    return command


def hugging_face_folder(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(WORDS))]
    sizes = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), num_hidden_layers=6, max_position_embeddings=512, **sizes)
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')


@pytest.mark.slow
@pytest.mark.longest
def test_every_command_works_in_the_order_given(tmp_path):
    for name in ("fairseq_kd", "preprocess", "launcher", "scripts", "configs", "experiments.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    hugging_face_folder(tmp_path / ".cache" / "minilm")
    write(tmp_path / "glue")
    for folder in ("wiki", "books"):
        (tmp_path / folder).mkdir()
        documents = (" ".join(WORDS[number % 7 :] + WORDS[: number // 7]) for number in range(300))
        (tmp_path / folder / "text").write_text(".\n\n".join(documents))
    # One task's data and teacher serve for the other.
    for folder, ours, theirs in (("data", "RTE-bin", "SST-2-bin"), ("teachers", "RTE", "SST-2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ours).symlink_to(theirs)

    path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    for command in commands():
        done = run(["bash", "-c", shortened(command)], cwd=tmp_path, env={"PATH": path})
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    teacher = json.loads((tmp_path / "teachers" / "SST-2" / "result.json").read_text())
    assert teacher["versions"]["fairseq"] == "0.12.2"
    assert (tmp_path / "runs" / "sst2" / "checkpoint_best.pt").is_file()
    assert (tmp_path / "runs" / "sst2" / "predictions" / "valid.npz").is_file()
    assert "crd" in (tmp_path / "runs" / "default" / "report" / "report.md").read_text()
    assert (tmp_path / "caches" / "SST-2").is_dir()
    assert (tmp_path / "students" / "SST-2" / "1" / "predictions" / "valid.npz").is_file()
    assert (tmp_path / "exported" / "transformers" / "model.safetensors").is_file()
    assert (tmp_path / "exported" / "fairseq" / "model.pt").is_file()


def test_the_example_of_a_new_method_trains(tmp_path):
    (example,) = re.findall(r"^```python\n(.*?)^```", ADDING, flags=re.M | re.S)
    # Under another name, for whoever has added it.
    for name in ("hidden_cosine", "HiddenCosine"):
        example = example.replace(name, f"{name}_of_the_page")
    exec(example, {"__name__": "fairseq_kd.criterions.hidden_cosine"})  # registers it

    data, teacher = write_data(tmp_path / "data"), write_teacher(tmp_path / "model.pt")
    task, student, criterion = build(data, teacher, "hidden_cosine_of_the_page", mapping="last")
    assert criterion.teacher_wanted.first == {4}
    assert not criterion.teacher_wanted.states
    loss, _, _ = criterion(student, batch(task, [0, 1]))
    loss.backward()
    assert torch.isfinite(loss)


def test_every_criterion_has_its_row():
    assert set(re.findall(r"^\| `(\w+)` \| ", README, flags=re.M)) >= CRITERIONS


def test_nothing_is_left_to_be_filled_in():
    results = "".join(page.read_text() for page in (ROOT / "docs").glob("results*.md"))
    assert not re.findall(r"\bDEMO_\w+|\bTBD\b|\?\?\?", README + results)
    assert {"MRPC", "SST-2", "CoLA", "RTE"} <= set(re.findall(r"[\w-]+", results))


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as links name them: lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in DOCUMENTS)]
)
def test_every_link_leads_somewhere(page: str):
    here = ROOT / page
    for link in re.findall(r"\]\((?!http)([^)]+)\)", here.read_text()):
        path, _, anchor = link.partition("#")
        target = here.parent / path if path else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_and_demo_state_the_same_duration():
    pattern = r"\d+ minutes on 2 CPU cores, plus the download of torch"
    assert re.findall(pattern, README)[:1] == re.findall(pattern, DEMO)[:1] != []


def test_all_names_in_the_map_exist():
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    tree = architecture.split("## Map of the tree")[1]
    names = re.findall(r"^(\w[\w.]*/?) ", tree.split("```")[1], flags=re.M)
    assert len(names) >= 8
    for name in names:
        assert (ROOT / name).exists(), name
