import json

import pytest

from launcher.results.runs import read_group
from tests.launcher.report.folders import classes_with, spec, write_run


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'spec'"),
        ('{"spec": {"task": "RTE"}}', "TypeError"),
        (None, "KeyError: 'best'"),
    ],
)
def test_damaged_result_gives_one_note_and_an_unfinished_run(tmp_path, content, problem):
    path = write_run(tmp_path, spec(), classes_with(20)) / "result.json"
    result = json.loads(path.read_text())
    del result["best"]
    path.write_text(content or json.dumps(result))

    notes = []
    (run,) = read_group(tmp_path, notes.append)
    (note,) = notes
    assert run.result is None
    assert note.startswith(f"{path} is invalid ({problem}")
    assert note.endswith("delete it, and experiments.py writes it again")


def test_unreadable_run_is_omitted(tmp_path):
    for seed in (1, 2):
        folder = write_run(tmp_path, spec(seed=seed), classes_with(20))
    (folder / "result.json").unlink()
    (folder / "spec.json").write_bytes(b"\xff\xfe")

    notes = []
    (run,) = read_group(tmp_path, notes.append)
    assert run.spec.seed == 1
    assert [note.split(" ")[0] for note in notes] == [str(folder / "spec.json")]
