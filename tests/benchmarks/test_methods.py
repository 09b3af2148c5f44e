"""The benchmark of methods times training steps of each method in turn, without the first round."""

from types import SimpleNamespace

from benchmarks import methods
from fairseq_kd.teachers import AveragedTeacher


def test_steps_of_a_method_take_time(data, teacher):
    args = SimpleNamespace(data=data, teacher=teacher, init_layers="0,3", batch_size=4, batches=2)
    rounds = {name: methods.build(name, args) for name in ("kd", "lad")}
    found = methods.measure(rounds, 1)
    assert set(found) == {"kd", "lad"}
    assert min(found.values()) > 0


def test_median_excludes_the_first_round():
    times = iter([90.0, 3.0, 1.0, 2.0])
    assert methods.measure({"kd": lambda: next(times)}, 3) == {"kd": 2.0}


def test_sda_uses_its_averaged_teacher(data, teacher, monkeypatch):
    asked = []
    signals = AveragedTeacher.signals
    monkeypatch.setattr(AveragedTeacher, "signals", lambda *given: asked.append(given) or signals(*given))
    args = SimpleNamespace(data=data, teacher=teacher, init_layers="0,3", batch_size=4, batches=2)
    methods.build("sda", args)()
    assert len(asked) == 2
