"""Small encoders and a small GLUE in the formats of the real ones."""

import json
from pathlib import Path

import pytest

SENTENCES = [
    "The ferry leaves the harbour at noon.",
    "Nobody said the bread was stale, did they?",
    "A red kite circles over the old mill.",
    "He's counted 1234 sheep and 56 goats.",
    "They'll repaint the café before winter.",
]

AWKWARD = [
    "",
    " ",
    "plain words",
    "  two  leading,   three   inside, two trailing  ",
    "tab\tinside, line separator\u2028, paragraph\u2029, next line\x85, no-break\xa0space",
    "vertical\x0btab form\x0cfeed group\x1dseparator carriage\rreturn",
    "control \x00\x01\x07\x1b characters",
    "emoji 😀👩‍👩‍👧‍👦🇫🇷👍🏽 and ☃️",
    "mixed scripts: Ελληνικά русский עברית العربية हिन्दी 中文字 日本語 한국어 ไทย",
    "combining e\u0301 a\u0308 zero\u200bwidth \ufeffbom \ufffd \U0010fffd",
    "it's we'll THEY'RE I'd 'S 'T o'clock ''",
    "numbers 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥",
    "quotes \" ' “ ” « » and `` ticks",
    "underscores_and-dashes—and…dots... !?!?!?",
    "w" * 3000,
    "ab" * 150 + " " + "é" * 200,
    "<mask> </s> <s> <pad> <unk> [SEP] [MASK] [CLS] [PAD] [UNK] <|endoftext|> ▁",
]


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory) -> Path:
    """Write a byte-level BPE with a few merges; dict.txt has another order, as RoBERTa's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)

    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "encoder.json").write_text(json.dumps(model["vocab"]))
    (folder / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")

    ids = sorted(model["vocab"].values(), key=lambda i: (i * 7919) % 1009)
    (folder / "dict.txt").write_text("".join(f"{i} {len(ids) - n}\n" for n, i in enumerate(ids)))
    return folder


@pytest.fixture(scope="session")
def wordpiece_folder(tmp_path_factory) -> Path:
    """Write an uncased BERT vocabulary with its special tokens in the middle, as real ones."""
    folder = tmp_path_factory.mktemp("wordpiece")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789")
    words = ["the", "ferry", "leaves", "nobody", "said", "mask", "sep", "cafe", "e", "##bread"]
    entries = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"[]<>/.,!?'\"", "中"]
    entries += letters + ["##" + letter for letter in letters] + words
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(entries)) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": null}')
    return folder


@pytest.fixture(scope="session")
def sentencepiece_folder(tmp_path_factory) -> Path:
    from preprocess.train_sentencepiece import train

    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text.txt").write_text("\n".join(SENTENCES * 20), encoding="utf-8")
    train([folder / "text.txt"], vocab_size=60, out=folder / "encoder")
    return folder / "encoder"


STS = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
SOURCES = "\tg\tf\ty\to\tnone\tnone\t"
NLI = "index\tpromptID\tpairID\tgenre\tp1\tp2\tq1\tq2\tsentence1\tsentence2"
BETWEEN, NEUTRAL = 7 * "\t-" + "\t", "\tneutral"
FIVE = "\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"
FILES = {
    "CoLA": {
        "train": "gj04\t1\t\tThe ferry leaves.\ngj04\t0\t*\tLeaves ferry the.\n",
        "dev": "bc01\t1\t\tNobody said it.",
        "test": "index\tsentence\n0\tThe mill circles.\n",
    },
    "SST-2": {
        "train": "sentence\tlabel\na red kite \t1\nstale bread \t0\nthe old mill \t1\n",
        "dev": "sentence\tlabel\nthe ferry \t0\n",
        "test": "index\tsentence\n0\tcounted sheep \n",
    },
    "MRPC": {
        "train": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t1\t2\tHe said " noon .\tNoon , he said .\r\n',
        "dev": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t3\t4\tThe bread .\tThe kite .\n",
        "test": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t5\t6\tThe mill .\tA mill .\n",
    },
    "QQP": {
        "train": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        "0\t1\t2\tIs it noon?\tIs it 12?\t1\n1\t3\t4\tbroken row\n2\t5\t6\tWhy?\tWho?\t0\n",
        "dev": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n9\t1\t2\tWhere?\tWhen?\t0\n",
        "test": "id\tquestion1\tquestion2\n0\tIs it?\tIt is?\n1\tno second\n",
    },
    "STS-B": {
        "train": f"{STS}\n0{SOURCES}A kite.\tA bird.\t3.800\n1{SOURCES}Noon.\tMidday.\t5.000\n",
        "dev": f"{STS}\n0{SOURCES}Bread.\tMill.\t0.000\n",
    },
    "MNLI": {
        "train": f"{NLI}\tlabel1\tgold_label\n0{BETWEEN}A kite.\tA bird.\tneutral\tneutral\n"
        f"1{BETWEEN}Noon.\tMidday.\t-\t-\n2{BETWEEN}Noon.\tNight.\tcontradiction\tcontradiction\n",
        "dev_matched": f"{NLI}{FIVE}\n0{BETWEEN}A mill.\tA building.{5 * NEUTRAL}\tentailment\n",
        "dev_mismatched": f"{NLI}{FIVE}\n0{BETWEEN}A goat.\tA sheep.{5 * NEUTRAL}\tcontradiction\n",
        "test_matched": f"{NLI}\n0{BETWEEN}A goat.\tA horn.\n",
        "test_mismatched": f"{NLI}\n0{BETWEEN}A horn.\tA goat.\n",
    },
    "QNLI": {
        "train": 'index\tquestion\tsentence\tlabel\n0\tWhen?\tAt "noon.\tentailment\n1\tWho?\tNoon.\tnot_entailment\n',
        "dev": "index\tquestion\tsentence\tlabel\n0\tWhere?\tThere.\tentailment\n",
    },
    "RTE": {
        "train": "index\tsentence1\tsentence2\tlabel\n0\tA kite.\tA bird.\tnot_entailment\n",
        "dev": "index\tsentence1\tsentence2\tlabel\n0\tNoon.\tMidday.\tentailment\n",
    },
    "WNLI": {
        "train": "index\tsentence1\tsentence2\tlabel\n0\tHe said it.\tNobody said it.\t0\n",
        "dev": "index\tsentence1\tsentence2\tlabel\n0\tThey repaint it.\tThey do.\t1\n",
    },
    "SNLI": {
        "train": "index\tsentence1\tsentence2\tgold_label\n0\tA kite.\tA bird.\tentailment\n1\tA\tB\t-\n",
        "dev": "index\tsentence1\tsentence2\tgold_label\n0\tNoon.\tNight.\tcontradiction\n",
        "test": "index\tsentence1\tsentence2\tgold_label\n0\tA mill.\tA cat.\tneutral\n",
    },
    "AX": {"AX": "index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not.\n"},
}


@pytest.fixture
def glue_dir(tmp_path) -> Path:
    """Write eleven folders with GLUE's names and columns and a few rows each."""
    folder = tmp_path / "glue"
    for task, files in FILES.items():
        (folder / task).mkdir(parents=True)
        for split, text in files.items():
            (folder / task / f"{split}.tsv").write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def run_glue(glue_dir, gpt2_folder, tmp_path):
    """Return a function that runs the command on the small GLUE and returns its exit status."""

    from preprocess.glue import main

    def call(*arguments, encoder=gpt2_folder):
        where = ["--glue-dir", glue_dir, "--encoder-dir", encoder, "--out", tmp_path / "out"]
        return main([str(word) for word in (*where, *arguments)])

    return call


def meta_of(tmp_path, task):
    return json.loads((tmp_path / "out" / f"{task}-bin" / "meta.json").read_text())
