"""Starts training processes in slots, and terminates all of them on exit."""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from ..paths import importing_project
from ..planning.prerequisites import NotReady, Prerequisites
from .command import environment
from .devices import Slot

PATIENCE = 10  # seconds that a process gets to end by itself

# Signals that stop a program; Windows has no SIGHUP.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Programs:
    """The running processes; any thread can start one, until `stop` is called."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def call(self, command: Sequence[str], slot: Slot, sink, lock: int) -> int:
        """Run `command` with its output in the file `sink`; return the exit code.

        lock  file descriptor that the process inherits, so that its lock holds until the training has ended, even
              if the launcher is killed
        """
        with self.lock:
            if self.stopped:
                return -signal.SIGTERM
            if slot.cores:
                os.sched_setaffinity(0, slot.cores)  # of this thread, and of the process that it starts
            program = subprocess.Popen(
                command,
                env=os.environ | environment(slot),
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
        """Terminate all processes, and start no more."""
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


def make_data(prerequisites: Prerequisites) -> None:
    """Run the command that makes the missing data; raise NotReady if the command fails.

    After an interruption the command has ended when KeyboardInterrupt is raised.
    """
    print(shlex.join(prerequisites.make_data), flush=True)
    # Its own session receives one interrupt only: a second one would interrupt the removal of partial files.
    making = subprocess.Popen(prerequisites.make_data, env=importing_project(), start_new_session=True)
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
        tasks = " and ".join(prerequisites.waiting_for)
        raise NotReady([f"the data of {tasks} could not be made, as said above"])
