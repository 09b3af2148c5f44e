"""The identity of a run: all settings that decide its result, and the name that follows from them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ..methods import LOGITS, NO_TEACHER
from ..models import ALL_LAYERS
from ..overrides import Value, as_words, read_overrides

# A cell of the grid is trained in one stage with all loss terms, or in two: first the method's own terms, then the logits.
ONE, FIRST, SECOND = "one", "first", "second"


def criterion_of(method: str, stage: str) -> str:
    """Return the --criterion: that of the method, but kd for labels only (its other weights are 0) and in a second stage."""
    return LOGITS if stage == SECOND or method == NO_TEACHER else method


def other_setting(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return the first setting that differs, such as `another lr (2e-05, now 0.0001)`; None if there is none."""
    for name, value in wanted.items():
        if there.get(name) != value:
            return f"another {name.replace('_', ' ')} ({there.get(name)}, now {value})"
    return None


@dataclass(frozen=True)
class RunSpec:
    """All settings that decide a run's result; paths and speed are not among them.

    init           --init-layers; random:3 for a student of 3 layers that copies none; with `start`, the model's name
    mapping        --mapping; "" if the method pairs no layers
    stage          one, first or second
    updates        length of the learning-rate schedule, including `warmup` updates
    data, teacher  fingerprints; for a teacher that is trained first, the digest of its spec
    overrides      the user's flags for fairseq-train; files have them as the words `flags`
    after          name of the first stage that a second one starts from
    stage2_from    checkpoint of that first stage: best or last
    start          fingerprint of the user's model that the run starts from instead
    start_of_seed  whether runs of other seeds start from other models
    layers         layers copied from `start`, as --init-layers; random:3 copies none and has 3
    """

    task: str
    method: str
    init: str
    mapping: str
    stage: str
    seed: int
    epochs: int
    batch_size: int
    lr: float
    updates: int
    warmup: int
    data: str
    teacher: str
    overrides: Mapping[str, Value] = field(default_factory=dict, hash=False)
    after: str = ""
    start: str = ""
    layers: str = ALL_LAYERS
    stage2_from: str = "best"
    start_of_seed: bool = False

    @property
    def name(self) -> str:
        """A readable name with a hash of the contents: only equal specs share a run directory."""
        parts = [self.task, self.method, self.init, self.mapping, self.stage, f"seed{self.seed}"]
        readable = "-".join(part for part in parts if part).replace(",", "_").replace(":", ".")
        return f"{readable}-{self.digest}"

    @property
    def digest(self) -> str:
        """A hash of the contents, the same on every machine."""
        # Fields at their default are left out, so that a field added later renames no old run.
        defaults = {each.name: each.default for each in fields(self)} | {"flags": []}
        differing = {
            key: value for key, value in self.to_json().items() if value != defaults.get(key, MISSING)
        }
        return hashlib.sha256(json.dumps(differing, sort_keys=True).encode()).hexdigest()[:8]

    def to_json(self) -> dict[str, Any]:
        """Return the contents as spec.json has them."""
        contents = {each.name: getattr(self, each.name) for each in fields(self)}
        return contents | {"flags": as_words(contents.pop("overrides"))}

    @classmethod
    def from_json(cls, contents: Mapping[str, Any]) -> "RunSpec":
        """Read the contents of a spec.json, which may lack fields that are newer than the file.

        Raises TypeError or ValueError if they are invalid.
        """
        contents = dict(contents)
        return cls(overrides=read_overrides(contents.pop("flags", [])), **contents)

    @property
    def criterion(self) -> str:
        """Its --criterion."""
        return criterion_of(self.method, self.stage)

    @property
    def cell(self) -> tuple[str, str, str, str, str]:
        """The fields that runs of all seeds share: task, method, init, mapping, stages."""
        stages = {ONE: "one", SECOND: "two"}.get(self.stage, self.stage)
        return self.task, self.method, self.init, self.mapping, stages
