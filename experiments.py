#!/usr/bin/env python3
"""Train a grid of students and print one table: task x method x init x mapping x stages x rates x seeds.

    python experiments.py --task mrpc,rte --method none,kd,att_kl_learn --init 0,1,2 --init 3,4,5 \\
        --mapping skip,last --stage two --seeds 1,2,3,4 --group first -- --num-workers 2
    python experiments.py --grid configs/grids/small_methods.yaml --dry-run
    python experiments.py --task mrpc -e finetune --models runs/pretrained untrained=runs/pretrained@random:3
    python experiments.py --grid FILE --launcher slurm --slurm partition=gpu,time=4:00:00,gres=gpu:1
    python experiments.py report --help     (also: status, cancel, submit)

Arguments after -- are passed to fairseq-train, by its names (--clip-norm 1.0) or hydra's (optimization.clip_norm=1.0).
Flags of a criterion (--hsk-keep, --inter-weight) are passed to the runs whose criterion has them.

Each run has its own directory in OUT/GROUP, named after all settings that decide its result. Finished runs are
skipped and interrupted runs are resumed; a failed run does not stop the others. The table of means and deviations is
printed, and written to OUT/GROUP/table.md and table.csv. If several learning rates or batch sizes are tried, a row
shows the best of them.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from launcher.cli import read_arguments
from launcher.config import SLURM, Grid
from launcher.execution.scheduler import FAILED, interruptible, run_grid, say_interrupted, show
from launcher.execution.slots import Slot, make_slots, visible_gpus
from launcher.execution.slurm import Slurm, open_slurm
from launcher.execution.submit_grid import LOGS, submit_grid
from launcher.planning.expand import plan_jobs
from launcher.planning.job import Job
from launcher.planning.prerequisites import NotReady, find_prerequisites, make_data
from launcher.results.table import print_table
from launcher.validate import check_batches, check_flags, check_layers, check_origins, notes


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 no run failed, 1 some runs failed, 2 nothing was started, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name == "report":
        from launcher.report import command

        return command.main(rest)
    if name == "submit":
        from launcher.execution import submit_command

        return submit_command.main(rest)
    if name in ("status", "cancel"):
        from launcher.execution import status

        return status.status_main(rest) if name == "status" else status.cancel_main(rest)

    grid, dry_run = read_arguments(__doc__, arguments)
    try:
        with interruptible():
            grid, slots, queue = find_devices(grid)
            jobs = plan(grid, dry_run)
    except NotReady as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        return say_interrupted()
    config = grid.config
    if dry_run:
        if jobs:
            show(jobs, slots[0], f"{len(slots)} at a time" if queue is None else "as Slurm jobs")
        return 0
    if queue is None:
        return run_grid(jobs, slots, config.retries, config.folder)
    try:
        if not submit_grid(jobs, queue, config.folder, config.retries):
            print_table(jobs, config.folder)
    except ValueError as error:
        print(f"Not all runs were submitted: {error}; the same command submits the others.", file=sys.stderr)
        return FAILED
    return 0


def plan(grid: Grid, dry_run: bool) -> list[Job]:
    """Return the checked jobs of a grid, after missing data is made; raise NotReady if they cannot start.

    With `dry_run` nothing is made: the command that makes missing data is printed, and there are no jobs yet.
    """
    prerequisites = find_prerequisites(grid)
    check_layers(prerequisites)
    if prerequisites.missing and dry_run:
        print(shlex.join(prerequisites.data_command))
        print(f"# the runs can be planned when the data of {' and '.join(prerequisites.missing)} exists")
        return []
    if prerequisites.missing:
        make_data(prerequisites)
        prerequisites = find_prerequisites(grid)
    jobs = plan_jobs(prerequisites)
    check_origins(jobs)
    check_batches(jobs)
    for note in notes(grid, jobs):
        print(note, file=sys.stderr)
    if not dry_run:
        check_flags(jobs)
    return jobs


def find_devices(grid: Grid) -> tuple[Grid, list[Slot], Slurm | None]:
    """Return the grid for the GPUs of this machine, its slots, and the queue of --launcher slurm.

    Raises NotReady if there are too few GPUs, or Slurm cannot be used.
    """
    config = grid.config
    try:
        if config.launcher == SLURM:
            limit = config.jobs if "jobs" in grid.given else None
            # A job looks for GPUs on its own machine.
            return grid, [Slot()], open_slurm(config.folder / LOGS, config.slurm, limit)
        if config.slurm:
            raise ValueError(f"--slurm {config.slurm} is for --launcher slurm: add that, or remove it")
        gpus = [] if config.cpu else visible_gpus()
        slots = make_slots(config.jobs, gpus, config.gpus_per_run)
    except ValueError as error:
        raise NotReady(str(error)) from None
    return replace(grid, config=replace(config, cpu=not gpus)), slots, None


if __name__ == "__main__":
    sys.exit(main())
