#!/usr/bin/env python3
"""Train a grid of students and print one table: task x method x init x mapping x stages x rates x seeds.

    python experiments.py --task mrpc,rte --method none,kd,att_kl_learn --init 0,1,2 --init 3,4,5 \\
        --mapping skip,last --stage two --seeds 1,2,3,4 --group first -- --num-workers 2
    python experiments.py --grid configs/grids/small_methods.yaml --dry-run
    python experiments.py --task mrpc -e finetune --models runs/pretrained untrained=runs/pretrained@random:3
    python experiments.py report --help

Arguments after -- are passed to fairseq-train, by its names (--clip-norm 1.0) or hydra's (optimization.clip_norm=1.0).
Flags of a criterion (--hsk-keep, --inter-weight) are passed to the runs whose criterion has them.

Each run has its own directory in OUT/GROUP, named after all settings that decide its result. Finished runs are
skipped and interrupted runs are resumed; a failed run does not stop the others. Several calls of one grid, on machines
that share OUT, divide the runs among them. The table of means and deviations is printed, and written to
OUT/GROUP/table.md and table.csv. If several learning rates or batch sizes are tried, a row shows the best of them.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from launcher.cli import read_arguments
from launcher.execution.run_grid import check_origins, make_data, run_grid, show
from launcher.execution.scheduler import interruptible, say_interrupted
from launcher.execution.slots import make_slots, visible_gpus
from launcher.planning.expand import plan_jobs
from launcher.planning.prerequisites import NotReady, find_prerequisites
from launcher.validate import check_flags, check_layers, unused_flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 no run failed, 1 some runs failed, 2 nothing was started, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["report"]:
        from launcher import report

        return report.main(arguments[1:])

    grid, dry_run = read_arguments(__doc__, arguments)
    gpus = [] if grid.config.cpu else visible_gpus()
    config = replace(grid.config, cpu=not gpus)
    grid = replace(grid, config=config)
    slots = make_slots(config.jobs, gpus)
    try:
        with interruptible():
            prerequisites = find_prerequisites(grid)
            check_layers(prerequisites)
            if prerequisites.missing and dry_run:
                print(shlex.join(prerequisites.data_command))
                print(
                    f"# the runs can be planned when the data of {' and '.join(prerequisites.missing)} exists"
                )
                return 0
            if prerequisites.missing:
                make_data(prerequisites)
                prerequisites = find_prerequisites(grid)
            jobs = plan_jobs(prerequisites)
            check_origins(jobs)
            if unused := unused_flags(grid, jobs):
                print(f"Warning: no run of this grid uses {', '.join(unused)}.", file=sys.stderr)
            if not dry_run:
                check_flags(jobs)
    except NotReady as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        return say_interrupted()
    if dry_run:
        show(jobs, slots)
        return 0
    return run_grid(jobs, slots, config.retries, config.folder)


if __name__ == "__main__":
    sys.exit(main())
