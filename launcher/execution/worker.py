"""Trains one job: runs fairseq-train, resumes it, stores the result and saves the predictions."""

import json
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from ..files import take_lock, write_json, write_text
from ..models import BEST, LAST, file_fingerprint
from ..planning.job import Job
from ..plugin import find_python
from ..results.logs import summarize
from ..results.runs import Outcome, read_result
from .command import CACHE, predict_command, shell_line, train_command
from .provenance import provenance
from .slots import STOPPING, Processes, Slot

LAST_LINES, LINE_WIDTH = 6, 300  # fairseq prints its whole configuration in one line

# Exit codes of a process that a signal ended, as Python and as a shell report them.
STOPPED = {code for number in STOPPING for code in (-number, 128 + number)}

CLOCK, COMMAND = "clock.json", "command.txt"


@dataclass(frozen=True)
class Worker:
    """Trains jobs in one slot, one at a time.

    slots    number of runs that train at the same time, this one included
    retries  how often a failed run is resumed
    """

    slot: Slot
    processes: Processes
    retries: int = 0
    slots: int = 1

    def train(self, job: Job, begin: Callable[[], None] = lambda: None) -> Outcome:
        """Train a run and save its predictions, unless these exist; return the outcome, also of a failed run.

        An interrupted run resumes from checkpoint_last.pt.

        begin  called when the run is locked
        """
        result = read_result(job.folder)
        if result is not None and not job.lacks_predictions:
            return Outcome(result, skipped=True)

        job.folder.mkdir(parents=True, exist_ok=True)
        with open(job.folder / "lock", "w") as file:
            if not take_lock(file):
                busy = "another launcher is training it; run the same command again when that has ended"
                return Outcome(result, "" if result else busy, skipped=True)
            begin()
            # Another launcher may have finished the run before we locked it.
            result = read_result(job.folder)
            outcome = Outcome(result, skipped=True) if result else self._train(job, file)
            return outcome if outcome.result is None else replace(outcome, note=self._predict(job, file))

    def _train(self, job: Job, held: TextIO) -> Outcome:
        job = with_first_cache(job)
        command = train_command(job)
        write_text(job.folder / COMMAND, shell_line(command, self.slot) + "\n")
        write_json(job.folder / "spec.json", job.spec.to_json())

        log = job.folder / "log.txt"
        for attempt in range(1, self.retries + 2):
            if changed := _changed_model(job):
                return Outcome(
                    None,
                    f"{changed} changed since this run was planned: run the same command again to plan with the new file",
                )
            resumed = (job.folder / LAST).is_file()
            began_with = self._provenance(job, resumed)
            spent, begin = begin_attempt(job.folder, resumed), time.monotonic()
            # Without a checkpoint the run starts again, and the log of an earlier attempt is obsolete.
            with open(log, "ab" if resumed else "wb") as sink:
                offset = sink.tell()
                exit_code = self.processes.call(command, self.slot, sink, held.fileno())
            refused = refusal(log, offset, exit_code)
            attempts = f" in try {attempt} of {self.retries + 1}" if attempt > 1 else ""
            if exit_code == 0 or exit_code in STOPPED or refused:
                break

        if refused:
            return Outcome(None, f"{refused}\n    (the end of {log})")
        if exit_code != 0:
            return Outcome(
                None, f"{_ending(exit_code)}{attempts}; the end of {log}:\n{_last_lines(log, offset)}"
            )
        try:
            summary = summarize(log, job.metric)
        except ValueError as error:
            return Outcome(None, f"exited with status 0 but {error} ({log})")
        if not (job.folder / BEST).is_file():
            return Outcome(
                None, f"exited with status 0 but saved no {BEST}: remove the flag that prevents it ({log})"
            )

        result = {
            **summary,
            "seconds": round(spent + time.monotonic() - begin, 1),
            "resumed": resumed,
            "exit_code": exit_code,
            "spec": job.spec.to_json(),
            **began_with,
        }
        if job.is_teacher:
            shutil.copyfile(job.data.folder / "input0" / "dict.txt", job.folder / "dict.txt")
        write_json(job.folder / "result.json", result)
        if not job.keeps_last:
            # It contains the state of the optimizer, is several times as large as the model, and is no longer needed.
            (job.folder / LAST).unlink(missing_ok=True)
        return Outcome(read_result(job.folder))

    def _provenance(self, job: Job, resumed: bool) -> dict[str, Any]:
        """Return the environment at the start of the training; the code may change before its end."""
        path = job.folder / "environment.json"
        if not resumed or not path.is_file():
            write_json(path, provenance(find_python(job.trainer), self.slot, self.slots))
        return json.loads(path.read_text("utf-8"))

    def _predict(self, job: Job, held: TextIO) -> str:
        """Save the predictions; return the problem, if any, which does not fail the run."""
        if not job.predicts:
            return ""
        log = job.folder / "log.txt"
        try:
            with open(log, "ab") as sink:
                exit_code = self.processes.call(predict_command(job), self.slot, sink, held.fileno())
        except OSError as error:  # a full disk
            return f"no predictions, {error}"
        return f"no predictions, {_ending(exit_code)}: see {log}" if exit_code != 0 else ""


def with_first_cache(job: Job) -> Job:
    """Return the job with the teacher cache of its interrupted training: a run learns from stored or live signals only.

    A new run, and one that began with another cache, keeps the cache of the job.
    """
    path = job.folder / COMMAND
    if not (job.folder / LAST).is_file() or not path.is_file():
        return job
    words = shlex.split(path.read_text("utf-8"))
    if CACHE not in words:
        return replace(job, cache=None)
    return job if job.cache is not None else replace(job, cache=Path(words[words.index(CACHE) + 1]))


def begin_attempt(folder: Path, resumed: bool, now: Callable[[], float] = time.time) -> float:
    """Record the start of an attempt; return the seconds of training of earlier attempts, without the gaps.

    An earlier attempt is assumed to have ended when its log was last written, because it may have been killed.
    """
    path, spent = folder / CLOCK, 0.0
    if resumed and path.is_file():
        before = json.loads(path.read_text("utf-8"))
        ended = (folder / "log.txt").stat().st_mtime
        spent = before["spent"] + max(0.0, ended - before["begun"])
    write_json(path, {"spent": round(spent, 1), "begun": now()})
    return spent


def _changed_model(job: Job) -> Path | None:
    """Return a checkpoint that differs from the one that the run was planned with."""
    for path, planned in job.planned_models.items():
        if not path.is_file() or file_fingerprint(path) != planned:
            return path
    return None


def _ending(exit_code: int) -> str:
    return f"exit status {exit_code}" if exit_code > 0 else f"killed by signal {-exit_code}"


def refusal(log: Path, offset: int, exit_code: int) -> str:
    """Return the error of a trainer that did not start, for which a retry is useless; empty if it started.

    The error is that of fairseq_kd/errors.py ("Cannot start", with one sentence or an indented list).
    """
    if exit_code <= 0:
        return ""
    lines = _lines(log, offset)
    at = next((at for at, line in enumerate(lines) if line.startswith("Cannot start")), len(lines))
    listed = takewhile(lambda line: line.startswith("  "), lines[at + 1 :])
    return "\n  ".join([*lines[at : at + 1], *listed])


def _last_lines(log: Path, offset: int) -> str:
    half = LINE_WIDTH // 2
    lines = (
        line if len(line) <= LINE_WIDTH else f"{line[:half]} ... {line[-half:]}"
        for line in _lines(log, offset)[-LAST_LINES:]
    )
    return "\n".join(f"    {line}" for line in lines)


def _lines(log: Path, offset: int) -> list[str]:
    with open(log, "rb") as file:
        file.seek(offset)
        return [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
