"""Writes a small SST-2 of made-up sentences, in GLUE's own format, for machines that cannot get GLUE.

    python scripts/make_small_glue.py OUT

Leaves OUT/SST-2/{train,dev,test}.tsv: 4,000, 400 and 100 sentences of a few words about films, whose label
follows from their words, negation included. Scores on it say that the software works, and nothing else.
"""

import argparse
import random
from pathlib import Path

SPLITS = {"train": 4000, "dev": 400, "test": 100}
GOOD = "moving warm clever funny bright honest graceful tender gripping lovely sharp fresh".split()
BAD = "dull clumsy tired flat bleak hollow noisy lazy bland messy stale tedious".split()
THINGS = "film story script cast plot ending score dialogue camera hero music pace".split()
FILLERS = (
    "from the first scene|for most of two hours|to my surprise|in its own way|as the critics said".split("|")
)


def sentence(rng: random.Random) -> tuple[str, int]:
    """A sentence and its label: 1 for praise, 0 for blame."""
    label = rng.randrange(2)
    negated = rng.random() < 0.3
    words = GOOD if (label == 1) != negated else BAD
    first, second = rng.sample(words, 2)
    verb = rng.choice(["is never", "is not"]) if negated else rng.choice(["is", "stays", "feels"])
    joined = rng.choice([first, f"{first} {'or' if negated else 'and'} {second}"])
    parts = [f"the {rng.choice(THINGS)} {verb} {joined}"]
    if rng.random() < 0.5:
        parts.insert(rng.randrange(2), rng.choice(FILLERS))
    return " ".join(parts) + " ", label


def write(out: Path, seed: int = 1) -> None:
    """Writes the three files; the same ones for the same seed."""
    rng = random.Random(seed)
    folder = out / "SST-2"
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in SPLITS.items():
        examples = [sentence(rng) for _ in range(count)]
        if split == "test":
            lines = ["index\tsentence", *(f"{number}\t{text}" for number, (text, _) in enumerate(examples))]
        else:
            lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in examples)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder in which SST-2/ is made")
    write(parser.parse_args().out)
