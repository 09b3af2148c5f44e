"""Writes a small SST-2 of synthetic sentences in GLUE's format, for machines that cannot download GLUE.

    python scripts/make_small_glue.py OUT

Writes OUT/SST-2/{train,dev,test}.tsv: 8,000, 800 and 100 short sentences about films. One of 160 adjectives, and negation,
determine the label. A few hundred sentences contain most adjectives only once or twice, so a model has to know similar
words from its pre-training.
"""

import argparse
import random
from pathlib import Path

SPLITS = {"train": 8000, "dev": 800, "test": 100}
GOOD = """moving warm clever funny bright honest graceful tender gripping lovely sharp fresh brilliant charming
delightful elegant engaging enjoyable entertaining excellent exciting exquisite fascinating fine flawless gentle genuine
glorious gorgeous great hilarious hopeful imaginative impressive inspired intelligent intense joyful likable lively
magical magnificent masterful memorable original passionate perfect playful pleasant polished powerful profound
refreshing remarkable rewarding rich romantic satisfying seductive sensitive sincere smart soulful sparkling spectacular
splendid stirring stunning stylish subtle superb surprising sweet terrific thoughtful thrilling touching vivid witty
wonderful""".split()
BAD = """dull clumsy tired flat bleak hollow noisy lazy bland messy stale tedious absurd amateurish annoying appalling
artificial awful awkward banal boring careless cheap childish chaotic cold confused contrived crude cynical dreadful
dreary empty exhausting failed fake feeble foolish forced forgettable generic grating heavy horrible idiotic incoherent
inept irritating lame lifeless mediocre mindless monotonous muddled obnoxious painful pathetic pointless poor
predictable pretentious repetitive ridiculous sappy shallow silly slow sloppy stiff stupid terrible tiresome trite
ugly unfunny uninspired unpleasant vulgar weak worthless""".split()
THINGS = "film story script cast plot ending score dialogue camera hero music pace".split()
FILLERS = (
    "from the first scene|for most of two hours|to my surprise|in its own way|as the critics said".split("|")
)


def sentence(rng: random.Random) -> tuple[str, int]:
    """Return a sentence and its label: 1 for positive, 0 for negative."""
    label = rng.randrange(2)
    negated = rng.random() < 0.3
    word = rng.choice(GOOD if (label == 1) != negated else BAD)
    verb = rng.choice(["is never", "is not"]) if negated else rng.choice(["is", "stays", "feels"])
    parts = [f"the {rng.choice(THINGS)} {verb} {word}"]
    if rng.random() < 0.5:
        parts.insert(rng.randrange(2), rng.choice(FILLERS))
    return " ".join(parts) + " ", label


def write(out: Path, seed: int = 1) -> None:
    """Write the three files; the same seed gives the same files."""
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
    parser.add_argument("out", type=Path, metavar="OUT", help="folder in which SST-2/ is created")
    write(parser.parse_args().out)
