"""A Slurm cluster on this machine, as the current user, in a temporary folder; each node is a slurmd of its own."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
SBIN = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
SECONDS = 60

CONFIGURATION = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


MISSING = [name for name in PROGRAMS if shutil.which(name, path=SBIN) is None]
needs_slurm = pytest.mark.skipif(bool(MISSING), reason=f"the programs {', '.join(MISSING)} are missing")


@contextlib.contextmanager
def slurm_cluster(nodes: int = 1) -> Iterator[None]:
    """Start a cluster, with SLURM_CONF set for this process; stop all its jobs and daemons at the end.

    The names of the nodes are addresses of this machine, so that torchrun on one node can connect to another.
    """
    # The path of a socket has at most 107 characters, so pytest's folder may be too long.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    (folder / "state").mkdir()
    key, configuration = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    port, *ports = free_ports(1 + nodes)
    names = [f"127.0.0.{number}" for number in range(1, nodes + 1)]
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr={name} Port={own} CPUs=2"
        for name, own in zip(names, ports, strict=True)
    ]
    text = CONFIGURATION.format(folder=folder, host=host, user=user, port=port)
    configuration.write_text("\n".join([text, *lines, ""]))
    places = {
        "socket": "munge.socket",
        "key-file": "munge.key",
        "pid-file": "munge.pid",
        "seed-file": "munge.seed",
    }
    munge = [f"--{name}={folder / file}" for name, file in places.items()]

    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(configuration)
    daemons = []
    try:
        controllers = [["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"]]
        for at, command in enumerate([*controllers, *(["slurmd", "-D", "-N", name] for name in names)]):
            program = shutil.which(command[0], path=SBIN)
            with open(folder / f"{command[0]}{at}.log", "w") as log:
                outputs = {"stdout": log, "stderr": subprocess.STDOUT}
                daemons.append(
                    subprocess.Popen([program, *command[1:]], preexec_fn=end_with_parent, **outputs)
                )
        wait_until(
            lambda: output("sinfo", "--noheader", "--format", "%T %D").split() == ["idle", str(nodes)], folder
        )
        yield
    finally:
        output("scancel", "--me")
        with contextlib.suppress(AssertionError):
            wait_until(is_idle, folder)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder)


def end_with_parent() -> None:
    """Have this process receive SIGTERM when its parent ends, even if the parent is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def is_idle() -> bool:
    """Return whether no job is unfinished."""
    return output("squeue", "--noheader") == ""


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def wait_until(holds, folder: Path | None = None, seconds: float = SECONDS) -> None:
    """Wait for a condition; on failure show the logs in the folder."""
    deadline = time.monotonic() + seconds
    while not holds():
        logs = [path.read_text()[-2000:] for path in folder.glob("*.log")] if folder else []
        assert time.monotonic() < deadline, "\n".join(logs)
        time.sleep(0.1)
