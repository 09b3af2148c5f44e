"""Draws the figures of the documentation as SVG: which teacher layer each student layer learns from."""

from collections.abc import Iterable, Sequence

from fairseq_kd.layers import layer_map

TEACHER, STUDENT = 12, 3  # layers of the models in all figures
STEP, LEFT, TOP = 44, 84, 26  # pixels
TEACHER_Y, STUDENT_Y = TOP + 14, TOP + 104
HEIGHT = STUDENT_Y + 46

TEACHER_FILL, STUDENT_FILL, EDGE = "#5c6bc0", "#26a69a", "#9e9e9e"
COMPARED = {
    "states": "hidden states of all tokens",
    "token": "hidden states of the first token",
    "attention": "attention of a layer",
}


def draw(kind: str, mapping: str = "skip") -> str:
    """Return the SVG of a figure.

    kind     `states`, `token` or `attention`: layers paired by `mapping`; or the name of a figure of its own:
             `logits`, `contrast`, `alp`, `lad`, `sda`
    mapping  a name or pairs, see `layer_map`

    Raises KeyError for a kind that does not exist.
    """
    if kind in COMPARED:
        pairs = layer_map(mapping, STUDENT, TEACHER)
        if kind == "attention":
            pairs = [pair for pair in pairs if pair != (0, 0)]
        return _figure(
            _edges(pairs), f"{COMPARED[kind]}, --mapping {mapping}", first=0 if kind != "attention" else 1
        )
    return {"logits": _logits, "contrast": _contrast, "alp": _alp, "lad": _lad, "sda": _sda}[kind]()


def _logits() -> str:
    return _figure(_edges([(STUDENT, TEACHER)]), "the logits above the top layers", first=1)


def _contrast() -> str:
    pairs = [(student, teacher) for student in range(STUDENT + 1) for teacher in range(TEACHER + 1)]
    return _figure(_edges(pairs, faint=True), "all states of the first token, projected together", first=0)


def _alp() -> str:
    bucket = TEACHER // STUDENT
    pairs = [
        (k, layer) for k in range(1, STUDENT + 1) for layer in range((k - 1) * bucket + 1, k * bucket + 1)
    ]
    return _figure(_edges(pairs), "a mixture of teacher layers, --alp-reach buckets", first=1)


def _lad() -> str:
    gates = [
        _arrow(_x(layer, TEACHER) + 13, TEACHER_Y, _x(layer + 1, TEACHER) - 13, TEACHER_Y)
        for layer in range(1, TEACHER)
    ]
    pairs = [pair for pair in layer_map("skip", STUDENT, TEACHER) if pair != (0, 0)]
    return _figure(_edges(pairs) + gates, "states that gates aggregate from layer 1 up", first=1)


def _sda() -> str:
    """Return the student's last sets of parameters, whose mean is the teacher of the next update."""
    names, width = ["t-5", "t-4", "t-3", "t-2", "t-1", "t"], 90
    parts = []
    for place, name in enumerate(names):
        x, inside = LEFT + place * width, name in ("t-3", "t-2", "t-1")
        parts.append(_node(x, STUDENT_Y, name, STUDENT_FILL if inside or name == "t" else EDGE))
        if inside:
            parts.append(_line(x, STUDENT_Y - 14, LEFT + 3 * width, TEACHER_Y + 14))
    parts.append(_node(LEFT + 3 * width, TEACHER_Y, "mean", TEACHER_FILL, radius=24))
    parts.append(_arrow(LEFT + 3 * width + 24, TEACHER_Y + 4, LEFT + 5 * width - 8, STUDENT_Y - 15))
    parts.append(_text(LEFT + 3 * width, HEIGHT - 6, "sets of parameters by update, --sda-window 3"))
    return _svg(parts, LEFT + 5 * width + 60)


def _figure(marks: Sequence[str], caption: str, first: int) -> str:
    """Return both models' layers in two rows, with `marks` between them.

    first  lowest state that is drawn: 0, the embedding output, or 1
    """
    parts = list(marks)
    for name, y, layers, fill in (
        ("teacher", TEACHER_Y, TEACHER, TEACHER_FILL),
        ("student", STUDENT_Y, STUDENT, STUDENT_FILL),
    ):
        parts.append(_text(34, y + 4, name))
        parts += [_node(_x(state, layers), y, str(state), fill) for state in range(first, layers + 1)]
    parts.append(_text(LEFT + TEACHER * STEP / 2, HEIGHT - 6, caption))
    return _svg(parts, LEFT + TEACHER * STEP + 40)


def _x(state: int, layers: int) -> float:
    """Return the place of a state: the student's are as far apart as to span the teacher's width."""
    return LEFT + state * STEP * TEACHER / layers


def _edges(pairs: Iterable[tuple[int, int]], faint: bool = False) -> list[str]:
    return [
        _line(_x(student, STUDENT), STUDENT_Y - 14, _x(teacher, TEACHER), TEACHER_Y + 14, 0.6 if faint else 2)
        for student, teacher in pairs
    ]


def _node(x: float, y: float, name: str, fill: str, radius: int = 13) -> str:
    return f'<circle cx="{x:g}" cy="{y}" r="{radius}" fill="{fill}"/>' + _text(x, y + 4, name, "#ffffff")


def _text(x: float, y: float, text: str, fill: str = "currentColor") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="12" text-anchor="middle">{text}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, width: float = 2) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{EDGE}" stroke-width="{width}"/>'


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return _line(x1, y1, x2, y2) + f'<circle cx="{x2:g}" cy="{y2:g}" r="3" fill="{EDGE}"/>'


def _svg(parts: Sequence[str], width: float) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {HEIGHT}" width="{width:g}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'style="max-width: 100%; height: auto">{"".join(parts)}</svg>'
    )
