"""Commands run by forks of a server, a process that has imported torch, fairseq and the plugin.

The imports take longer than a tiny training. A fork has its own arguments, folder, environment, streams and session,
and ends as a new process would. Commands that the server does not know run in the fork as new programs.

    processes.py serve ADDRESS             the server; it ends with its standard input
    processes.py ADDRESS PROGRAM WORDS     a command as a process of its own (see `programs`)
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

MODULES = {
    "fairseq-train": "fairseq_cli.train",
    "fairseq-hydra-train": "fairseq_cli.hydra_train",
    "fairseq-validate": "fairseq_cli.validate",
}
# The first sets up logging. An optimizer imports the second at its first update.
SERVED = ("fairseq_cli.train", "torch._dynamo", "fairseq_kd", "torch.distributed.run")
ROOT = Path(__file__).resolve().parents[1]


class Process:
    """A started command, as `subprocess.Popen` with captured text; `stdout` and `stderr` are read after its end.

    env   is added to the environment of this process
    """

    def __init__(
        self, command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.args = [str(word) for word in command]
        self.returncode: int | None = None
        self._files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        streams = [0, *(file.fileno() for file in self._files)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        self._connection, self.pid = request(server(), self.args, cwd or Path.cwd(), environment, streams)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = 600) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._connection.recv(100))
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def stdout(self) -> str:
        return self._text(0)

    @property
    def stderr(self) -> str:
        return self._text(1)

    def _text(self, number: int) -> str:
        self._files[number].seek(0)
        return self._files[number].read()


def run(command: Sequence[str | Path], **options) -> Process:
    """Run a command to its end."""
    process = Process(command, **options)
    process.wait()
    return process


def bash(*words: str | Path, **options) -> subprocess.CompletedProcess:
    """Run bash to its end."""
    return subprocess.run(["bash", *map(str, words)], capture_output=True, text=True, **options)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def torchrun(command: Sequence[str | Path], *flags: str, **options) -> Process:
    """Run a command of `programs` in two workers that torchrun starts."""
    program, *words = command
    launcher = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *flags]
    return run([*launcher, "--no-python", programs() / Path(program).name, *words], **options)


@cache
def programs() -> Path:
    """Write `python` and fairseq's commands as programs that fork the server; return their folder."""
    folder = Path(server()).with_name("bin")
    folder.mkdir()
    for name in ("python", *MODULES):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {server()} {name} "$@"\n')
        path.chmod(0o755)
    return folder


@cache
def server() -> str:
    """Start the server of this process; return its address."""
    server.folder = tempfile.TemporaryDirectory()  # removed at the end of this process
    address = f"{server.folder.name}/server"
    started = subprocess.Popen(
        [sys.executable, __file__, "serve", address],
        cwd="/",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdout.readline() == b"ready\n"
    server.process = started
    return address


def request(
    address: str, command: list[str], cwd: Path, environment: Mapping[str, str], streams: list[int]
) -> tuple[socket.socket, int]:
    """Return the connection that receives the exit status, and the number of the command's process."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    wanted = json.dumps([command, str(cwd), dict(environment)]).encode()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(wanted))
    socket.send_fds(connection, [wanted], streams)
    return connection, int(connection.recv(100))


def serve(address: str) -> list[str]:
    """Fork a process for each request; return in the fork, with the words of its command."""
    sys.path.pop(0)  # the folder of this file
    for module in SERVED:
        importlib.import_module(module)
    from fairseq.utils import import_user_module

    class Imported(set):
        """Has the plugin under each of its paths."""

        def __contains__(self, path: object) -> bool:
            return super().__contains__(path) or os.path.samefile(path, ROOT / "fairseq_kd")

    import_user_module.memo = Imported()
    gc.freeze()  # so that forks share the memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that no process remains as a zombie
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        if sys.stdin in select.select([sys.stdin, listener], [], [])[0]:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return fork(connection)
        connection.close()


def fork(connection: socket.socket) -> list[str]:
    """Start the command in another fork and send its exit status; return in that fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    wanted, streams, *_ = socket.recv_fds(connection, 2**20, 3)
    pid = os.fork()
    if pid:
        connection.send(str(pid).encode())
        ended = os.pidfd_open(pid)
        if ended not in select.select([ended, connection], [], [])[0]:  # the client ended first
            os.kill(pid, signal.SIGKILL)
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.send(str(status).encode())
        os._exit(0)

    connection.close()
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    command, cwd, environment = json.loads(wanted)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    return command


def run_command(program: str, *words: str) -> None:
    """Run a command in this process, as its program would."""
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    name = Path(program).name
    if name in MODULES:
        sys.argv = [program, *words]
        sys.exit(importlib.import_module(MODULES[name]).cli_main())
    if not name.startswith("python"):
        os.execvp(program, [program, *words])
    folder = [] if words[0] == "-P" else [""]
    first, *sys.argv = words[1 - len(folder) :]
    if first == "-m":
        sys.path[:0] = folder
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif first.endswith(".py"):
        sys.path[:0] = [str(Path(first).resolve().parent) for _ in folder]
        sys.argv.insert(0, first)
        runpy.run_path(first, run_name="__main__")
    else:
        os.execv(sys.executable, [sys.executable, *words])


def end(*words: str) -> None:
    """Run a command and end the process with its status, without the seconds that freeing all modules takes."""
    status = 0
    try:
        run_command(*words)
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    die(status)


def die(status: int) -> NoReturn:
    """End this process with an exit status, or by the signal of a negative one."""
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def forward(address: str, *command: str) -> None:
    """Run a command by a fork of the server, with the streams and the signals of this process."""
    connection, pid = request(address, list(command), Path.cwd(), os.environ, [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    status = int(connection.recv(100))
    die(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        end(*serve(sys.argv[2]))
    else:
        forward(*sys.argv[1:])
