"""One run: started, watched, judged."""

import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import results
from .spec import RunSpec

LAST_LINES, LINE_WIDTH = 6, 300  # fairseq prints its whole configuration in one line
PATIENCE = 10  # seconds a program gets to end by itself

try:
    import fcntl
except ImportError:  # not a Unix: two launchers at once are up to the user
    fcntl = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its result, or why there is none."""

    result: Mapping[str, Any] | None
    problem: str = ""
    skipped: bool = False


class Trainings:
    """The programs that are running, so that all of them can be stopped."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def run(
        self, spec: RunSpec, command: Sequence[str], variables: Mapping[str, str], metric: str
    ) -> Outcome:
        """Trains `spec` in the folder that its command names; finished runs are left alone.

        An interrupted one goes on: fairseq finds its checkpoint_last.pt. Nothing is raised for a
        training that fails.
        """
        folder = Path(command[command.index("--save-dir") + 1])
        result = results.read_result(folder)
        if result is not None:
            return Outcome(result, skipped=True)

        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            if not _take(lock):
                return Outcome(None, "another process is training it: wait for that, then call this again")
            return self._train(spec, command, variables, metric, folder, lock.fileno())

    def _train(self, spec, command, variables, metric, folder: Path, lock: int) -> Outcome:
        started = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
        results.write(folder / "command.txt", " ".join([*started, shlex.join(command)]) + "\n")
        results.write_json(folder / "spec.json", asdict(spec))

        resumed = (folder / "checkpoint_last.pt").is_file()
        begin = time.monotonic()
        log = folder / "log.txt"
        # Without a checkpoint it starts anew, and what an earlier try logged is of no training that is kept.
        with open(log, "ab" if resumed else "wb") as sink:
            here = sink.tell()
            exit_code = self._call(command, variables, sink, lock)

        if exit_code != 0:
            return Outcome(None, f"{_ending(exit_code)}; the end of {log}:\n{_last_lines(log, here)}")
        try:
            summary = results.summarize(log, metric)
        except ValueError as error:
            return Outcome(None, f"ended well but {error} ({log})")

        result = {
            **summary,
            "seconds": round(time.monotonic() - begin, 1),
            "resumed": resumed,
            "exit_code": exit_code,
            "spec": asdict(spec),
            **results.surroundings(),
        }
        results.write_json(folder / "result.json", result)
        # It holds the optimizer, several times the model, and has served its purpose.
        (folder / "checkpoint_last.pt").unlink(missing_ok=True)
        return Outcome(json.loads(json.dumps(result)))

    def _call(self, command, variables, sink, lock: int) -> int:
        with self.lock:
            if self.stopped:
                return -signal.SIGTERM
            # The program inherits the lock: it is held for as long as anything trains here, even
            # when the launcher is killed.
            program = subprocess.Popen(
                command,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
            )
            self.running.add(program)
        try:
            return program.wait()
        finally:
            with self.lock:
                self.running.discard(program)

    def stop(self) -> None:
        """Ends everything that runs and lets nothing start any more."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for program in running:
            program.terminate()
        deadline = time.monotonic() + PATIENCE
        for program in running:
            try:
                program.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()


def _take(lock) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ending(exit_code: int) -> str:
    return f"exit status {exit_code}" if exit_code > 0 else f"killed by signal {-exit_code}"


def _last_lines(log: Path, begin: int) -> str:
    with open(log, "rb") as file:
        file.seek(begin)
        lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(f"    {_shorten(line)}" for line in lines[-LAST_LINES:])


def _shorten(line: str) -> str:
    half = LINE_WIDTH // 2
    return line if len(line) <= LINE_WIDTH else f"{line[:half]} ... {line[-half:]}"
