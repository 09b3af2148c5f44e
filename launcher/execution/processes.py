"""Starts processes of this machine, and terminates all of them on exit."""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO

from ..planning.prerequisites import NotReady, Prerequisites
from ..plugin import importing_project
from .command import environment
from .devices import Slot

PATIENCE = 10  # seconds that a process gets to end by itself

# Signals that stop a program; Windows has no SIGHUP.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Processes:
    """The running training processes; any thread can start one, until `stop` is called."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def call(self, command: Sequence[str], slot: Slot, sink: IO | None, lock: int) -> int:
        """Run `command` with its output in the file `sink`; return the exit code.

        lock  file descriptor that the process inherits, so that its lock holds until the training has ended, even
              if the launcher is killed
        """
        with self.lock:
            if self.stopped:
                return -signal.SIGTERM
            if slot.cores:
                os.sched_setaffinity(0, slot.cores)  # of this thread, and of the process that it starts
            process = subprocess.Popen(
                command,
                env=os.environ | environment(slot),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
            )
            self.running.add(process)
        try:
            return process.wait()
        finally:
            with self.lock:
                self.running.discard(process)

    def stop(self) -> None:
        """Terminate all processes, and start no more."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def make_data(prerequisites: Prerequisites) -> None:
    """Run the command that makes the missing data; raise NotReady if the command fails.

    After an interruption the command has ended when KeyboardInterrupt is raised.
    """
    print(shlex.join(prerequisites.data_command), flush=True)
    # Its own session receives one interrupt only: a second one would interrupt the removal of partial files.
    making = subprocess.Popen(prerequisites.data_command, env=importing_project(), start_new_session=True)
    try:
        making.wait()
    except KeyboardInterrupt:
        making.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            making.wait(PATIENCE)
        raise
    finally:
        making.kill()
    if making.returncode != 0:
        tasks = " and ".join(prerequisites.missing)
        raise NotReady([f"the data of {tasks} could not be made, see the error above"])
