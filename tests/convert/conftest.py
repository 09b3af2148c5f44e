"""Tiny models in Hugging Face's format, with random weights and vocabularies in an awkward order."""

import json
import random
import re
from pathlib import Path

import pytest
import torch

from preprocess.vocabulary import byte_symbols
from tests.preprocess.test_tokenizer_files import write_folder, xlm_roberta

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 48,
}
WORDS = "the a cat dog sat ran on under mat big ##s ##ly ##t ##ing , . ? ! c d e r u n i g h m".split()
MERGES = ["t h", "th e", "c a", "ca t", "Ġ th", "Ġth e", "o n", "Ġ on", "d o", "do g", "Ġ dog", "i n", "in g"]


def write_bert_tokenizer(folder: Path, lowercase: bool = True) -> int:
    """vocab.txt with the specials in between; returns its length."""
    vocabulary = [*WORDS[:3], "[PAD]", "[UNK]", *WORDS[3:9], "[MASK]", "[SEP]", "[CLS]", *WORDS[9:]]
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    return len(vocabulary)


def write_roberta_tokenizer(folder: Path) -> int:
    """vocab.json and merges.txt as fairseq orders them: by frequency, here at random."""
    tokens = [*byte_symbols(), *(merge.replace(" ", "") for merge in MERGES), "<|endoftext|>"]
    random.Random(3).shuffle(tokens)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *tokens, "madeupword0000", "<mask>"]
    vocabulary = {token: row for row, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("".join(f"{line}\n" for line in ("#version: 0.2", *MERGES)))
    return len(tokens)


def write_xlm_roberta_tokenizer(folder: Path) -> int:
    """Write tokenizer.json; return the number of its tokens."""
    write_folder(folder / "tokenizer", "xlm-roberta", None)
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer.json")
    return xlm_roberta().get_vocab_size()


WRITERS = {
    "Bert": write_bert_tokenizer,
    "Roberta": write_roberta_tokenizer,
    "XLMRoberta": write_xlm_roberta_tokenizer,
}


@pytest.fixture
def save_model(tmp_path):
    """save_model("BertModel", **config) -> the model, in eval mode, and the folder it was saved to."""
    import transformers

    def save(class_name: str, **options):
        folder = tmp_path / class_name
        folder.mkdir()
        kind = re.split("For|Model", class_name)[0]
        words = WRITERS[kind](folder)
        special = {"pad_token_id": 3} if kind == "Bert" else {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
        config_class = getattr(transformers, f"{kind}Config")
        config = config_class(**{"vocab_size": words, **SIZES, **special, **options})

        torch.manual_seed(0)
        model = getattr(transformers, class_name)(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(std=0.3)
                if "LayerNorm.weight" in name or "layer_norm.weight" in name:
                    parameter += 1
        model.save_pretrained(folder)
        return model, folder

    return save
