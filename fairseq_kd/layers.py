"""Layer maps between student and teacher, and student initialisation from teacher layers.

Layer maps count *states*: 0 is the embedding output, k the output of layer k. Initialisation lists
count *layers* from 0, as launch scripts in this field do. Layer 0 computes state 1.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

MAPPINGS = "skip, last, pkd-skip, pkd-last, topX such as top10, or pairs such as 0:0,1:4,2:8,3:12"

LAYER = re.compile(r"(?P<prefix>(?:.*\.)?sentence_encoder\.layers\.)(?P<layer>\d+)\.(?P<name>.+)")

# fairseq stores a second copy of each layer's matrices, for a fast path at inference. Training does
# not update this copy.
FAST_PATH_COPIES = {
    f"{name}_{kind}" for name in ("in_proj", "out_proj", "fc1", "fc2") for kind in ("weight", "bias")
}


def layer_map(
    name_or_pairs: str | Sequence[tuple[int, int]],
    student_layers: int,
    teacher_layers: int,
    *,
    flag: str = "--mapping",
) -> list[tuple[int, int]]:
    """Return the pairs (student state, teacher state) of a mapping, for L_s and L_t layers.

    skip       (i, i L_t / L_s), i = 0..L_s   evenly spaced, embedding outputs included
    last       (L_s, L_t)                     the top layers
    pkd-skip   (j, j floor(L_t / L_s)), j = 1..L_s-1   Patient KD: the top layer learns from the logits only
    pkd-last   (j, L_t - L_s + j), j = 1..L_s-1        Patient KD: the layers below the top
    topX       (i, i X / L_s), i = 0..L_s     as skip, up to teacher state X; also t_topX
    pairs      "0:0,1:4" or [(0, 0), (1, 4)]

    Fractions are rounded, halves to even.

    flag  the flag that error messages name

    Raises ValueError, quoting the value, for an unknown mapping and for states that do not exist.

    Papers: Wang et al., How to Distill your BERT, ACL 2023 (skip, last); Sun et al., Patient
    Knowledge Distillation, EMNLP 2019; Liu et al., Marginal Utility Diminishes, ACL 2021 (topX).
    """
    if not isinstance(name_or_pairs, str):
        given = ",".join(f"{s}:{t}" for s, t in name_or_pairs)
        return _check_pairs(list(name_or_pairs), student_layers, teacher_layers, f"{flag} {given}")

    name = name_or_pairs.strip()
    given = f"{flag} {name_or_pairs}"

    if name == "skip":
        return _evenly_spaced(student_layers, teacher_layers)
    if name == "last":
        return [(student_layers, teacher_layers)]
    if name in ("pkd-skip", "pkd-last"):
        return _pkd_pairs(name, student_layers, teacher_layers, given)
    if match := re.fullmatch(r"(?:t_)?top(\d+)", name):
        top = int(match[1])
        if not 1 <= top <= teacher_layers:
            raise ValueError(
                f"{given} uses teacher state {top}, but the teacher has {_count_layers(teacher_layers)}: "
                f"use top1 to top{teacher_layers}."
            )
        return _evenly_spaced(student_layers, top)
    if re.fullmatch(r"\s*\d+\s*:\s*\d+\s*(,\s*\d+\s*:\s*\d+\s*)*", name):
        sides = [pair.split(":") for pair in name.split(",")]
        pairs = [(int(student), int(teacher)) for student, teacher in sides]
        return _check_pairs(pairs, student_layers, teacher_layers, given)
    raise ValueError(f"{given} is not a mapping: use {MAPPINGS}.")


def layer_numbers(init_layers: str | Sequence[int], depth: int) -> list[int]:
    """Return the layer numbers, from 0, that `--init-layers` selects from a model of `depth` layers.

    init_layers  a list, or "0,4,8", or "all"

    Raises ValueError, quoting the value, if a number is invalid or out of range.
    """
    if depth == 0:
        raise ValueError("--init-layers needs a RoBERTa to copy from, but its state dict has no layers.")

    if isinstance(init_layers, str):
        if init_layers.strip() == "all":
            return list(range(depth))
        if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", init_layers):
            raise ValueError(
                f"--init-layers {init_layers!r} is not a list of layer numbers: "
                f"use numbers from 0 to {depth - 1} such as 0,{depth // 2}, or all."
            )
        sources = [int(layer) for layer in init_layers.split(",")]
    else:
        sources = list(init_layers)

    if not sources:
        raise ValueError(f"--init-layers names no layer: use numbers from 0 to {depth - 1}, or all.")
    for layer in sources:
        if not 0 <= layer < depth:
            raise ValueError(
                f"--init-layers {','.join(map(str, sources))} names layer {layer}, but the model to copy "
                f"from has {_count_layers(depth)}, counted from 0: use 0 to {depth - 1}."
            )
    return sources


def student_state_dict(
    teacher_state_dict: Mapping[str, Tensor], init_layers: str | Sequence[int]
) -> dict[str, Tensor]:
    """Return the state dict of a student that has some of its teacher's layers, in the given order.

    Embeddings, their LayerNorm, the LM head and classification heads are unchanged. Layers are
    renumbered from 0. fairseq's second copies of a layer's matrices and its format marker `version`
    are omitted. The tensors are shared with the teacher; loading them into a model copies them.

    teacher_state_dict  of a RoBERTa, with fairseq's names
    init_layers         layer numbers from 0, as a list or as "0,4,8", or "all"

    Raises ValueError, quoting the value, if a layer does not exist.
    """
    depth = 1 + max((int(m["layer"]) for m in map(LAYER.fullmatch, teacher_state_dict) if m), default=-1)
    sources = layer_numbers(init_layers, depth)

    student = {}
    layers: dict[int, dict[tuple[str, str], Tensor]] = {}
    for key, tensor in teacher_state_dict.items():
        match = LAYER.fullmatch(key)
        if match is None:
            if not key.endswith("sentence_encoder.version"):
                student[key] = tensor
        elif match["name"] not in FAST_PATH_COPIES:
            layers.setdefault(int(match["layer"]), {})[match["prefix"], match["name"]] = tensor

    for target, source in enumerate(sources):
        for (prefix, name), tensor in layers[source].items():
            student[f"{prefix}{target}.{name}"] = tensor
    return student


def _evenly_spaced(student_layers: int, top: int) -> list[tuple[int, int]]:
    return [(i, round(i * top / student_layers)) for i in range(student_layers + 1)]


def _pkd_pairs(name: str, student_layers: int, teacher_layers: int, given: str) -> list[tuple[int, int]]:
    if student_layers < 2:
        raise ValueError(
            f"{given} pairs the layers below the student's top one, but the student has "
            f"{_count_layers(student_layers)}: use a deeper student, or last."
        )
    if student_layers > teacher_layers:
        raise ValueError(
            f"{given} needs a teacher at least as deep as the student, but the student has "
            f"{_count_layers(student_layers)} and the teacher {_count_layers(teacher_layers)}: use skip, or pairs."
        )

    if name == "pkd-skip":
        stride = teacher_layers // student_layers
        return [(j, j * stride) for j in range(1, student_layers)]
    return [(j, teacher_layers - student_layers + j) for j in range(1, student_layers)]


def _check_pairs(
    pairs: list[tuple[int, int]], student_layers: int, teacher_layers: int, given: str
) -> list[tuple[int, int]]:
    if not pairs:
        raise ValueError(f"{given.strip()} names no pair: use {MAPPINGS}.")
    for pair in pairs:
        ends = ("student", pair[0], student_layers), ("teacher", pair[1], teacher_layers)
        for who, state, layers in ends:
            if not 0 <= state <= layers:
                raise ValueError(
                    f"{given} names {who} state {state}, but the {who} has {_count_layers(layers)}: "
                    f"use 0 (embedding output) to {layers}."
                )
        if pairs.count(pair) > 1:
            raise ValueError(f"{given} names the pair {pair[0]}:{pair[1]} twice: name it once.")
    return pairs


def _count_layers(count: int) -> str:
    return f"{count} layer" if count == 1 else f"{count} layers"
