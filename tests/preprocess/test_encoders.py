import json
import random
import shutil

import pytest

from preprocess.encoders import load_encoder
from preprocess.errors import DataError
from preprocess.tokenizer_files import read_tokenizer
from tests.preprocess.conftest import AWKWARD


def random_texts(number, seed=0):
    """Return strings of random characters, with many spaces and letters."""
    rng = random.Random(seed)
    planes = [(0x20, 0x7F), (0, 0x300), (0, 0xD800), (0xE000, 0x30000), (0x1F000, 0x1FB00)]
    texts = []
    for _ in range(number):
        chosen = rng.choices(planes, k=rng.randrange(40))
        found = (rng.choice("  aé\t\n") if rng.random() < 0.3 else chr(rng.randrange(*p)) for p in chosen)
        texts.append("".join(found))
    return texts


def fairseq_rows(folder, texts):
    """Return the rows of fairseq's own GPT-2 BPE and dictionary."""
    from fairseq.data import Dictionary
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    files = {"gpt2_encoder_json": folder / "encoder.json", "gpt2_vocab_bpe": folder / "vocab.bpe"}
    bpe = GPT2BPE(GPT2BPEConfig(**{name: str(file) for name, file in files.items()}))
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    fixed = {"append_eos": False, "add_if_not_exist": False}
    return [dictionary.encode_line(bpe.encode(text), **fixed).tolist() for text in texts]


@pytest.mark.parametrize("vocabulary", ["tiny", pytest.param("roberta", marks=pytest.mark.real_data)])
def test_gpt2_equals_fairseq_on_awkward_text(request, vocabulary, gpt2_folder):
    roberta = vocabulary == "roberta"
    folder = request.getfixturevalue("real_data") / "gpt2_bpe" if roberta else gpt2_folder
    texts = [*AWKWARD, *random_texts(500)]
    assert load_encoder(folder).encode(texts) == fairseq_rows(folder, texts)


@pytest.mark.real_data
def test_gpt2_equals_fairseq_for_every_kind_of_character(real_data):
    """After a letter, alone, doubled and after spaces, since the class of a character decides where text is split."""
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    folder = real_data / "gpt2_bpe"
    codes = [*range(0, 0x3100, 3), *range(0x3100, 0x110000, 499)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"a{c}1 {c} {c}{c}b  {c}." for c in characters]
    bpe = get_encoder(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    encoder = load_encoder(folder)

    number = {symbol: index for index, symbol in enumerate(encoder.symbols, start=4)}
    expected = [[number[str(i)] for i in bpe.encode(text)] for text in texts]
    assert encoder.encode(texts) == expected


def test_wordpiece_equals_transformers(wordpiece_folder):
    from transformers import BertTokenizer

    texts = [*AWKWARD, *random_texts(300)]
    tokenizer = BertTokenizer.from_pretrained(str(wordpiece_folder), do_lower_case=True)
    theirs = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    index = {row: i for i, row in enumerate(read_tokenizer(wordpiece_folder).order())}
    assert load_encoder(wordpiece_folder).encode(texts) == [[index[i] for i in row] for row in theirs]


def test_sentencepiece_equals_its_library(sentencepiece_folder):
    from sentencepiece import SentencePieceProcessor

    texts = [*AWKWARD, *random_texts(300)]
    encoder = load_encoder(sentencepiece_folder)
    library = SentencePieceProcessor(model_file=str(sentencepiece_folder / "sentencepiece.model"))

    # unknown 0, <s> 1 and </s> 2 come first; the pieces follow in dict.txt's order
    expected = [[3 if i == 0 else i + 1 for i in row] for row in library.encode(texts)]
    assert encoder.encode(texts) == expected
    assert encoder.symbols[0] == library.id_to_piece(3)


def test_an_id_that_the_dictionary_lacks_is_unknown(gpt2_folder, tmp_path):
    folder = shutil.copytree(gpt2_folder, tmp_path / "short")
    lines = (folder / "dict.txt").read_text().splitlines()
    [first, *_] = load_encoder(gpt2_folder).encode(["the ferry"])[0]
    del lines[first - 4]
    (folder / "dict.txt").write_text("\n".join(lines) + "\n")
    assert load_encoder(folder).encode(["the ferry"]) == fairseq_rows(folder, ["the ferry"])
    assert load_encoder(folder).encode(["the ferry"])[0][0] == 3


def test_sentencepiece_takes_fairseq_dictionaries_in_another_order(sentencepiece_folder, tmp_path):
    folder = shutil.copytree(sentencepiece_folder, tmp_path / "sorted")
    derived = load_encoder(sentencepiece_folder)
    [mine] = derived.encode(["the ferry"])
    pieces = [derived.symbols[i - 4] for i in mine]

    kept = [symbol for symbol in reversed(derived.symbols) if symbol != pieces[0]]
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in kept), encoding="utf-8")
    number = {symbol: i for i, symbol in enumerate(kept, start=4)}
    assert load_encoder(folder).encode(["the ferry"]) == [[3, *(number[piece] for piece in pieces[1:])]]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("no such folder", "is not a folder"),
        ("empty", "has no encoder files"),
        ("two kinds", "has files of gpt2 and wordpiece"),
        ("no dict", "has no dict.txt"),
        ("added token", "its tokenizer is not BERT's WordPiece .*1 added token.*--encoder huggingface"),
        ("other dict", "dict.txt does not list the vocabulary in its order"),
        ("broken model", "is not a SentencePiece model"),
        ("broken json", "do not match or are damaged"),
        ("word dict", "dict.txt has no numbers"),
    ],
)
def test_a_folder_that_cannot_encode_is_refused(broken, message, tmp_path, gpt2_folder, wordpiece_folder):
    folder = tmp_path / "encoder"
    if broken in ("no dict", "two kinds", "broken json", "word dict"):
        shutil.copytree(gpt2_folder, folder)
    elif broken in ("other dict", "added token"):
        shutil.copytree(wordpiece_folder, folder)
    elif broken != "no such folder":
        folder.mkdir()

    if broken == "two kinds":
        shutil.copy(wordpiece_folder / "vocab.txt", folder)
    elif broken == "no dict":
        (folder / "dict.txt").unlink()
    elif broken == "added token":
        config = {"do_lower_case": True, "extra_special_tokens": ["[E1]"]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    elif broken in ("other dict", "word dict"):
        (folder / "dict.txt").write_text("a 1\nb 1\n")
    elif broken == "broken model":
        (folder / "sentencepiece.model").write_text("no model")
    elif broken == "broken json":
        (folder / "encoder.json").write_text("{")

    with pytest.raises(DataError, match=message):
        load_encoder(folder, "wordpiece" if broken == "added token" else None)
