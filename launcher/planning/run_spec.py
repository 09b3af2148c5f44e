"""What makes one run what it is, and its name."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from ..methods import LOGITS, criterion_of

# A cell of the grid is trained at once with all loss terms, or in two stages: the method's own
# terms first, then the logits from where those led.
ONE, FIRST, SECOND = "one", "first", "second"

ALL_LAYERS = "all"


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's result; where things lie and how fast is no part of it.

    init           --init-layers; random:3 for a student of 3 layers that copies none; with `start`, a name for it
    mapping        --mapping; "" where the method pairs no layers
    stage          one, first or second
    updates        length of the learning-rate schedule, `warmup` of them rising
    data, teacher  fingerprints; of a teacher that is trained first, the digest of its own spec
    flags          more flags for fairseq-train
    after          name of the first stage that a second one starts from
    stage2_from    which checkpoint of that first stage: best, or last
    start          fingerprint of a model of the user's that it starts from instead
    start_of_seed  whether runs of other seeds start from other models
    layers         those that it takes of `start`, as --init-layers; random:3 takes none and has 3
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
    flags: tuple[str, ...] = ()
    after: str = ""
    start: str = ""
    layers: str = ALL_LAYERS
    stage2_from: str = "best"
    start_of_seed: bool = False

    @property
    def name(self) -> str:
        """Readable, and ending in a hash of the contents: equal specs share a folder, others never do."""
        parts = [self.task, self.method, self.init, self.mapping, self.stage, f"seed{self.seed}"]
        readable = "-".join(part for part in parts if part).replace(",", "_").replace(":", ".")
        return f"{readable}-{self.digest}"

    @property
    def digest(self) -> str:
        """The same for equal contents, wherever and whenever."""
        # Fields at their default are left out, so that a field added later renames no old run.
        defaults = self.defaults()
        told = {key: value for key, value in asdict(self).items() if value != defaults.get(key, MISSING)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The fields that may be left out."""
        return {field.name: field.default for field in fields(cls) if field.default is not MISSING}

    def written(self) -> dict[str, Any]:
        """As it is read again from JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def completed(cls, there: dict[str, Any]) -> dict[str, Any]:
        """What was once written, with the fields that it is older than."""
        return json.loads(json.dumps(cls.defaults())) | there

    @property
    def criterion(self) -> str:
        """--criterion: the method's own, but kd for labels alone (its other weights are 0) and in a second stage."""
        return LOGITS if self.stage == SECOND else criterion_of(self.method)

    @property
    def cell(self) -> tuple[str, str, str, str, str]:
        """What runs that differ by their seed have in common: task, method, init, mapping, stages."""
        stages = {ONE: "one", SECOND: "two"}.get(self.stage, self.stage)
        return self.task, self.method, self.init, self.mapping, stages
