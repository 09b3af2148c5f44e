"""The teacher of `--criterion sda`: an average of the student's earlier parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...signals import Wanted
from ...teachers import AveragedTeacher
from ...teachers.averaged import ALL, DECAY
from ...unused_flags import unused


class SelfTeacher(AveragedTeacher):
    """An AveragedTeacher built from the --sda-... flags, for the student of `task`.

    student_wanted  signals that are needed of the student
    problems        error messages; empty if the flags are valid
    unused          flags without effect, for a warning
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
        """Return the settings that must not change on resume, in a normal form: --sda-window and --sda-decay."""
        return {"--sda-window": _window(cfg) or cfg.get("sda_window"), "--sda-decay": _decay(cfg)}


def _window(cfg: Mapping[str, Any]) -> int | str | None:
    """Return the number of parameter sets, or ALL; None if --sda-window is neither."""
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
            "--criterion sda compares class logits of sentences, but --task masked_lm_kd has none: use --task "
            "sentence_prediction_kd, or --criterion kd."
        )
    if cfg.amp:
        yield (
            "--amp makes an update even if a gradient overflowed, which --criterion sda cannot detect: use --autocast "
            "bf16, --bf16, or --fp16 --fp16-no-flatten-grads."
        )
    yield from (_problems_of_ema if cfg.sda_form == "ema" else _problems_of_window)(cfg)
    if cfg.sda_evaluate == "average" and cfg.sda_form == "voted":
        yield "--sda-evaluate average evaluates one model, but --sda-form voted has several: use --sda-form average."
    elif cfg.sda_evaluate == "average" and _window(cfg) == 1:
        yield (
            "--sda-evaluate average needs several parameter sets, but a window of 1 has only that of one update ago: give "
            "--sda-window 2 or more, or all."
        )


def _problems_of_ema(cfg) -> Iterable[str]:
    if not 0 <= _decay(cfg) <= 1:
        yield f"--sda-decay {cfg.sda_decay} is out of range: give a number from 0 to 1."


def _problems_of_window(cfg) -> Iterable[str]:
    given, window = cfg.sda_window, _window(cfg)
    if window is None:
        yield f"--sda-window {given} is not a number of updates: give 1 or more, or all."
    elif cfg.sda_form == "voted" and window == ALL:
        yield f"--sda-form voted runs every model of its window, but --sda-window {given} has no limit: give a number."


def _unused(cfg) -> list[str]:
    if cfg.sda_form != "ema":
        entries = unused([] if cfg.sda_decay is None else ["--sda-decay"], f"--sda-form {cfg.sda_form}")
    else:
        entries = unused([] if cfg.sda_window is None else ["--sda-window"], "--sda-form ema")
    no_window = cfg.sda_host and _window(cfg) == ALL
    return entries + unused(["--sda-host"] if no_window else [], "one average, no window")
