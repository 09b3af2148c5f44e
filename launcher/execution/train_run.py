"""Trains one run, stores its result and saves its predictions."""

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..files import write_json, write_text
from ..models import BEST, LAST, file_fingerprint
from ..paths import find_python
from ..planning.job import Job
from ..results import logs
from ..results.outcome import Outcome, read_result
from . import lock
from .command import environment, predict_command, train_command
from .devices import Slot
from .environment_info import environment_info
from .processes import STOPPING, Programs

LAST_LINES, LINE_WIDTH = 6, 300  # fairseq prints its whole configuration in one line

# Exit codes of a process that a signal ended, as Python and as a shell report them.
STOPPED = {code for number in STOPPING for code in (-number, 128 + number)}

# The last line of argparse's error, and its exit status.
WRONG_FLAGS, WRONG_FLAGS_STATUS = re.compile(r"(\S+): error: (.*)"), 2

Call = Callable[..., int]  # (command, sink=file) -> exit code


def train(
    job: Job,
    slot: Slot,
    programs: Programs,
    retries: int = 0,
    begin: Callable[[], None] = lambda: None,
    slots: int = 1,
) -> Outcome:
    """Train a run and save its predictions, unless these exist; return the outcome, also of a failed run.

    begin  is called when the run is locked
    slots  number of runs that train at the same time, this one included

    An interrupted run resumes from checkpoint_last.pt. A failed run is resumed up to `retries` times.
    """
    result = read_result(job.folder)
    if result is not None and not job.lacks_predictions:
        return Outcome(result, skipped=True)

    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / "lock", "w") as file:
        if not lock.take(file):
            busy = "another launcher is training it; call this again when that has ended"
            return Outcome(result, "" if result else busy, skipped=True)
        begin()
        # Another launcher may have finished the run before we locked it.
        result = read_result(job.folder)
        call = partial(programs.call, slot=slot, lock=file.fileno())
        outcome = Outcome(result, skipped=True) if result else _train(job, slot, call, retries, slots)
        return outcome if outcome.result is None else replace(outcome, note=_predict(job, call))


def _train(job: Job, slot: Slot, call: Call, retries: int, slots: int) -> Outcome:
    started = [f"{name}={shlex.quote(value)}" for name, value in environment(slot).items()]
    command = train_command(job)
    write_text(job.folder / "command.txt", " ".join([*started, shlex.join(command)]) + "\n")
    write_json(job.folder / "spec.json", asdict(job.spec))

    log = job.folder / "log.txt"
    for attempt in range(1, retries + 2):
        if changed := next(
            (path for path, planned in job.planned_models.items() if _fingerprint(path) != planned), None
        ):
            return Outcome(
                None,
                f"{changed} changed since this run was planned: call this again to plan with what is there",
            )
        resumed = (job.folder / LAST).is_file()
        began_with = _environment_info(job, slot, slots, resumed)
        tries = f" in try {attempt} of {retries + 1}" if attempt > 1 else ""
        spent, begin = begin_try(job.folder, resumed), time.monotonic()
        # Without a checkpoint the run starts again, and the log of an earlier try is obsolete.
        with open(log, "ab" if resumed else "wb") as sink:
            here = sink.tell()
            exit_code = call(command, sink=sink)
        refused = _refused(log, here, exit_code)
        if exit_code == 0 or exit_code in STOPPED or refused:
            break

    if refused:
        return Outcome(None, f"{refused}\n    (the end of {log})")
    if exit_code != 0:
        return Outcome(None, f"{_ending(exit_code)}{tries}; the end of {log}:\n{_last_lines(log, here)}")
    try:
        summary = logs.summarize(log, job.metric)
    except ValueError as error:
        return Outcome(None, f"ended well but {error} ({log})")
    if not (job.folder / BEST).is_file():
        return Outcome(None, f"ended well but saved no {BEST}: leave out what keeps it from saving ({log})")

    result = {
        **summary,
        "seconds": round(spent + time.monotonic() - begin, 1),
        "resumed": resumed,
        "exit_code": exit_code,
        "spec": asdict(job.spec),
        **began_with,
    }
    if job.keep_dictionary:
        shutil.copyfile(job.data.folder / "input0" / "dict.txt", job.folder / "dict.txt")
    write_json(job.folder / "result.json", result)
    if not job.keeps_last:
        # It contains the optimizer, several times as large as the model, and is no longer needed.
        (job.folder / LAST).unlink(missing_ok=True)
    return Outcome(json.loads(json.dumps(result)))


def _fingerprint(path: Path) -> str | None:
    return file_fingerprint(path) if path.is_file() else None


def _environment_info(job: Job, slot: Slot, slots: int, resumed: bool) -> dict[str, Any]:
    """Return the environment at the start of the training; the code may change before its end."""
    path = job.folder / "environment.json"
    if not resumed or not path.is_file():
        write_json(path, environment_info(find_python(job.trainer), slot, slots))
    return json.loads(path.read_text("utf-8"))


def _predict(job: Job, call: Call) -> str:
    """Save the predictions; return the problem, if any, which does not fail the run."""
    if not job.predicts:
        return ""
    log = job.folder / "log.txt"
    try:
        with open(log, "ab") as sink:
            exit_code = call(predict_command(job), sink=sink)
    except OSError as error:  # a full disk
        return f"no predictions, {error}"
    return f"no predictions, {_ending(exit_code)}: see {log}" if exit_code != 0 else ""


def _ending(exit_code: int) -> str:
    return f"exit status {exit_code}" if exit_code > 0 else f"killed by signal {-exit_code}"


def _refused(log: Path, begin: int, exit_code: int) -> str:
    """Return the error with which the trainer refused to start, so that no retry helps; empty if it started.

    The error is that of fairseq_kd/errors.py ("Cannot start", with one sentence or an indented list), or of argparse.
    """
    if exit_code <= 0:
        return ""
    lines = _lines(log, begin)
    wrong = WRONG_FLAGS.fullmatch(lines[-1]) if lines and exit_code == WRONG_FLAGS_STATUS else None
    if wrong:
        return f"{wrong[1]} does not take its command line ({wrong[2]}): correct the flags after --"
    at = next((at for at, line in enumerate(lines) if line.startswith("Cannot start")), len(lines))
    listed = takewhile(lambda line: line.startswith("  "), lines[at + 1 :])
    return "\n  ".join([*lines[at : at + 1], *listed])


def _last_lines(log: Path, begin: int) -> str:
    return "\n".join(f"    {_shorten(line)}" for line in _lines(log, begin)[-LAST_LINES:])


def _lines(log: Path, begin: int) -> list[str]:
    with open(log, "rb") as file:
        file.seek(begin)
        return [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]


def _shorten(line: str) -> str:
    half = LINE_WIDTH // 2
    return line if len(line) <= LINE_WIDTH else f"{line[:half]} ... {line[-half:]}"


CLOCK = "clock.json"


def begin_try(folder: Path, resumed: bool, now: Callable[[], float] = time.time) -> float:
    """Record the start of a try; return the seconds of training that earlier tries took, without the gaps.

    An earlier try is assumed to have ended when its log was last written, because it may have been killed.
    """
    path, spent = folder / CLOCK, 0.0
    if resumed and path.is_file():
        before = json.loads(path.read_text("utf-8"))
        ended = (folder / "log.txt").stat().st_mtime
        spent = before["spent"] + max(0.0, ended - before["begun"])
    write_json(path, {"spent": round(spent, 1), "begun": now()})
    return spent
