"""`experiments.py submit`: runs one training command on several Slurm nodes, with torchrun on each node."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arguments import Parser, positive, split
from ..files import write_text
from ..plugin import find_program, find_python
from ..results.progress import say
from .slots import Processes, Slot, visible_gpus
from .slurm import Task, open_slurm
from .submit_grid import LOGS, PROBLEM, Submission, cores, is_cancelled, read_submission, say_commands
from .worker import refusal

DESCRIPTION = """Submit one training command as a Slurm job that runs torchrun on each of its nodes.

    python experiments.py submit --nodes 2 --processes-per-node 8 \\
        --slurm partition=gpu,time=24:00:00,gpus_per_node=8,cpus_per_task=32 -- \\
        fairseq-train data/corpus --user-dir fairseq_kd ... --save-dir runs/pretrained

The command after -- is the one that trains on one machine, without torchrun. Before its time limit and after a
preemption the job is requeued, and resumes from checkpoint_last.pt of --save-dir, which all nodes must share."""

FINISHED_FILE = "finished.txt"
MAX_RESTARTS = 3  # of the workers after a failure, by torchrun
FIRST_PORT, PORTS = 10_000, 20_000  # below the ports that Linux gives to clients

SAVE_DIR = re.compile(r"(?:--save-dir|\+{0,2}checkpoint\.save_dir)=(.+)")


@dataclass
class NodesTraining(Task):
    """Runs a training command on all nodes of a job; each attempt resumes from checkpoint_last.pt.

    command  begins with the path of its program
    workers  processes of each node
    folder   the save directory; node 0 writes log.txt in it, node 1 log1.txt
    """

    command: Sequence[str]
    workers: int
    folder: Path

    def work(self, processes: Processes) -> str:
        """Run the command on this node; store its problem or its success in the save directory."""
        from submitit import JobEnvironment

        job = JobEnvironment()
        if is_cancelled(self.folder, job.job_id):
            return "cancelled"
        problem = self._train(processes, job.node, job.hostnames, job.job_id)
        if problem and not processes.stopped:
            write_text(self.folder / PROBLEM, problem + "\n")
        if not problem and job.node == 0:
            write_text(self.folder / FINISHED_FILE, f"job {job.job_id}\n")
        return problem

    def _train(self, processes: Processes, node: int, hosts: Sequence[str], job_id: str) -> str:
        gpus, threads = visible_gpus(), cores()
        if 0 < len(gpus) < self.workers:
            return (
                f"--processes-per-node {self.workers}, but {hosts[node]} has {len(gpus)} GPUs for the job: ask for more in "
                "--slurm"
            )
        command = torchrun_command(self.command, self.workers, hosts, node, job_id)
        slot = Slot(",".join(gpus) or None, threads=threads and max(1, threads // self.workers))
        log = self.folder / f"log{node or ''}.txt"
        with open(log, "ab") as sink:
            offset = sink.tell()
            exit_code = processes.call(command, slot, sink)
        if exit_code == 0:
            return ""
        return refusal(log, offset, exit_code) or f"exit status {exit_code} on {hosts[node]}: see {log}"


def torchrun_command(
    command: Sequence[str], workers: int, hosts: Sequence[str], node: int, job_id: str
) -> list[str]:
    """Return the command line that runs a training command on one node.

    hosts  names of all nodes; the first one hosts the rendezvous
    node   index of this node
    """
    port = FIRST_PORT + int(job_id) % PORTS  # jobs that share a node need different ports
    return [
        # Without this variable, restarted workers may wait forever (docs/pretraining.md).
        *(
            "env",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
            find_python(command[0]),
            "-m",
            "torch.distributed.run",
        ),
        *("--nnodes", str(len(hosts)), "--nproc-per-node", str(workers), "--max-restarts", str(MAX_RESTARTS)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{hosts[0]}:{port}", "--rdzv-id", job_id),
        *("--rdzv-conf", f"is_host={int(node == 0)}"),
        *command,
    ]


def main(arguments: Sequence[str]) -> int:
    """Submit the job; return the exit status. Exits with one sentence if an argument is invalid."""
    own, command = split(arguments)
    parser = Parser(DESCRIPTION)
    parser.add_argument("--nodes", type=positive, required=True, metavar="N", help="number of nodes")
    parser.add_argument(
        "--processes-per-node",
        type=positive,
        required=True,
        metavar="N",
        help="processes of torchrun on each node: one for each GPU that --slurm requests, or on CPUs any number",
    )
    parser.add_argument(
        "--slurm",
        required=True,
        metavar="KEY=VALUE,...",
        help="options of sbatch, such as partition=gpu,time=24:00:00,gpus_per_node=8,account=me; time is required",
    )
    args = parser.parse_args(own)
    try:
        folder = submit(command, args.nodes, args.processes_per_node, args.slurm)
    except ValueError as error:
        parser.error(str(error))
    say(f"Logs of the training: {folder}/log*.txt; of the job: {folder / LOGS}")
    say_commands(folder.parent)
    say("After a failure, the same command resumes.")
    return 0


def submit(command: Sequence[str], nodes: int, workers: int, slurm: str) -> Path:
    """Submit a training command; return its save directory.

    Raises ValueError if the command is incomplete, or trains already, or Slurm refuses it.
    """
    if not command:
        raise ValueError("the command is missing: give it after --, such as -- fairseq-train DATA ...")
    folder = find_save_dir(command).absolute()
    program = find_program(command[0])
    if program is None:
        raise ValueError(f"the command after -- starts with {command[0]}, which is not a program: correct it")
    queue = open_slurm(folder / LOGS, slurm, nodes=nodes)
    before = read_submission(folder)
    if before is not None and not before.cancelled and before.id in (states := queue.states()):
        raise ValueError(
            f"--save-dir {folder} has the job {before.id}, which is {states[before.id]}: wait for it, or cancel it first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PROBLEM, FINISHED_FILE):
        (folder / name).unlink(missing_ok=True)
    [job_id] = queue.submit([NodesTraining([program, *command[1:]], workers, folder)], folder.name)
    write_text(folder / "command.txt", shlex.join(command) + "\n")
    Submission(job_id, (), str(folder / LOGS / f"{job_id}_0_log.err")).write(folder)
    say(f"Submitted job {job_id}: {nodes} nodes with {workers} processes each.")
    return folder


def find_save_dir(command: Sequence[str]) -> Path:
    """Return the save directory of a command of fairseq-train or fairseq-hydra-train; raise ValueError without one."""
    words = list(command)
    given = [after for word, after in zip(words, words[1:], strict=False) if word == "--save-dir"]
    given += [match[1] for match in map(SAVE_DIR.fullmatch, words) if match]
    if len(given) != 1:
        raise ValueError(
            f"the command after -- has {len(given)} save directories: give one --save-dir DIR, or with hydra "
            "checkpoint.save_dir=DIR, from which a requeued job resumes"
        )
    return Path(given[0])
