"""Workers whose clocks and validations differ do what the first one says."""

import pytest
import torch.multiprocessing as multiprocessing


def work(rank: int, folder: str) -> None:
    import json
    from pathlib import Path

    import torch.distributed as dist

    from fairseq_kd.schedules.budget import Budget, Timer
    from fairseq_kd.schedules.clock import Clock
    from fairseq_kd.schedules.loop import TimedLoop
    from fairseq_kd.schedules.stopping import Hopeless, LowLossScale
    from tests.schedules.test_clock import FakeTime

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    time = FakeTime()
    timer = Timer(Budget(72.0, 54.0, (10.0, 20.0), {18.0: 0.25}), Clock(time))
    timer.clock.start()
    loop = TimedLoop(timer, Hopeless(limit=6.0), LowLossScale(1.0), False, False)

    seen = []
    for step in (9.5, 0.7, 8.0, 40.0):
        time.seconds += step if rank == 0 else 3.3 * step
        timer.read()
        due = timer.due()
        loss = 5.0 + 0.4 * len(seen) - 0.9 * rank  # which the second worker never finds hopeless
        loop.validate(lambda *args, loss=loss: [loss], None, None, None, None, ["valid"])
        seen.append([timer.elapsed, due.validation, due.checkpoints, due.over, loop.verdict is not None])
    (Path(folder) / f"{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_decide_alike(tmp_path):
    import json

    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert [row[0] for row in first] == pytest.approx([9.5, 10.2, 18.2, 58.2])
    assert [row[1:] for row in first] == [
        [False, [], False, False],
        [True, [], False, False],
        [False, [0.25], False, False],
        [True, [], True, True],
    ]
