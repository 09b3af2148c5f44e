"""The part that is the student's own past."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...signals import Wanted
from ...teachers import AveragedTeacher
from ...teachers.averaged import ALL, DECAY
from ...unused_flags import unused


class OwnPast(AveragedTeacher):
    """What the --sda-... flags describe; it follows the student.

    student_wanted  the signals of the student that it is compared with
    problems        one sentence for each reason why there is none
    unused          flags without effect
    """

    def __init__(self, task, cfg) -> None:
        problems = list(_problems(cfg, task))
        if problems:
            super().__init__()
        else:
            window = _window(cfg)
            super().__init__(window, str(cfg.sda_form), _decay(cfg), cfg.sda_host and window != ALL)
        self.problems = problems
        self.unused = _unused(cfg)
        self.student_wanted = Wanted(logits=True)
        self.follow(task.student, task.head)

    @staticmethod
    def settled(cfg: Mapping[str, Any]) -> dict[str, Any]:
        """What decides which past it is, whichever way it was said."""
        return {"--sda-window": _window(cfg) or cfg.get("sda_window"), "--sda-decay": _decay(cfg)}


def _window(cfg: Mapping[str, Any]) -> int | str | None:
    """How many sets of parameters: a number, or ALL; None where --sda-window says neither."""
    given = cfg.get("sda_window")
    if given == ALL or str(cfg.get("sda_form")) == "ema":
        return ALL
    if given is None:
        return 1
    return (int(given) or ALL) if given.isdecimal() else None


def _decay(cfg: Mapping[str, Any]) -> float:
    given = cfg.get("sda_decay")
    return DECAY if given is None else given


def _problems(cfg, task) -> Iterable[str]:
    if task.predicts_words:
        yield (
            "--criterion sda compares the scores of a sentence's classes, and --task masked_lm_kd has none: take --task "
            "sentence_prediction_kd, or --criterion kd."
        )
    if cfg.amp:
        yield (
            "--amp calls for an update even where a gradient overflowed, which --criterion sda cannot tell: take "
            "--autocast bf16, --bf16, or --fp16 --fp16-no-flatten-grads."
        )
    yield from (_problems_of_ema if cfg.sda_form == "ema" else _problems_of_window)(cfg)
    if cfg.sda_evaluate == "average" and cfg.sda_form == "voted":
        yield "--sda-evaluate average judges one model, and --sda-form voted has several: take --sda-form average."
    elif cfg.sda_evaluate == "average" and _window(cfg) == 1:
        yield (
            "--sda-evaluate average would judge the student of one update ago, which is all that a window of 1 holds: give "
            "--sda-window 2 or more, or all."
        )


def _problems_of_ema(cfg) -> Iterable[str]:
    if not 0 <= _decay(cfg) <= 1:
        yield f"--sda-decay {cfg.sda_decay} is no share: give a number from 0 to 1."


def _problems_of_window(cfg) -> Iterable[str]:
    given, window = cfg.sda_window, _window(cfg)
    if window is None:
        yield f"--sda-window {given} is no number of updates: give 1 or more, or all."
    elif cfg.sda_form == "voted" and window == ALL:
        yield f"--sda-form voted runs each model of its window, and --sda-window {given} has no end: give a number."


def _unused(cfg) -> list[str]:
    if cfg.sda_form != "ema":
        entries = unused([] if cfg.sda_decay is None else ["--sda-decay"], f"--sda-form {cfg.sda_form}")
    else:
        entries = unused([] if cfg.sda_window is None else ["--sda-window"], "--sda-form ema")
    no_window = cfg.sda_host and _window(cfg) == ALL
    return entries + unused(["--sda-host"] if no_window else [], "one average, no window")
