"""Tiny models in Hugging Face's format and ours, and what both compute for the same text."""

import json
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from fairseq_kd.errors import CannotStart
from fairseq_kd.models.checkpoint import read_checkpoint
from fairseq_kd.signals import Wanted
from fairseq_kd.teachers.live import frozen_model
from preprocess.vocabulary import byte_symbols
from scripts.convert_hf import import_model, main
from tests.preprocess.conftest import sentencepiece_folder  # noqa: F401
from tests.preprocess.hugging_face_folders import write_folder, xlm_roberta
from tests.tiny import SYMBOLS, dictionary_of, write_data

HEAD = "sentence_classification_head"
SEGMENTS = {"pair_format": "bert", "layernorm_eps": 1e-12, "segments": 2}
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


def edit_config(folder: Path, remove=(), **changes) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in config.items() if name not in remove}))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def edit_weights(folder: Path, **changes) -> None:
    """Change weights of model.safetensors; None removes one."""
    weights = weights_of(folder) | changes
    kept = {name: value for name, value in weights.items() if value is not None}
    save_file(kept, folder / "model.safetensors")


def pickle_weights(folder: Path, weights: dict, **options) -> None:
    """Save the weights as pytorch_model.bin, and remove model.safetensors."""
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", **options)


def imported(folder: Path, out: Path) -> dict[str, torch.Tensor]:
    import_model(folder, out)
    return dict(read_checkpoint(str(out), "--teacher").weights)


def assert_same_weights(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def refusal(folder: Path) -> str:
    """Return the error of an import, which has one line and writes nothing."""
    out = folder.parent / "refused"
    with pytest.raises(CannotStart) as error:
        import_model(folder, out)
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def export(checkpoint: Path, out: Path, *flags) -> Path:
    arguments = ["export", "--checkpoint", checkpoint, "--out", out, *flags]
    assert main([str(argument) for argument in arguments]) == 0
    return out


def export_refusal(checkpoint: Path, out: Path, *flags) -> str:
    """Return the error of an export, which writes nothing."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(CannotStart) as error:
        export(checkpoint, out, *flags)
    assert sorted(out.parent.iterdir()) == before
    return str(error.value)


def load(folder: Path, kind: str = "SequenceClassification"):
    """Return the model as transformers loads it; assert that its weights are exactly those of the file."""
    import transformers

    auto = getattr(transformers, f"AutoModelFor{kind}" if kind else "AutoModel")
    options = {} if kind else {"add_pooling_layer": False}
    model, found = auto.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(found.values()), found
    return model.eval()


def labelled(folder: Path, *labels: str, **changes) -> Path:
    """Write data whose label/dict.txt has these labels; `changes` are those of meta.json."""
    data = write_data(folder, classes=max(2, len(labels)), regression="score_scale" in changes)
    if labels:
        (data / "label" / "dict.txt").write_text("".join(f"{label} 1\n" for label in labels))
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps(meta | changes))
    return data


def signals_of(given: Path, tokens: torch.Tensor, head: str | None = HEAD, symbols=SYMBOLS):
    """Return all states of our model, and with a head its logits."""
    checkpoint = read_checkpoint(str(given), "--checkpoint")
    model = frozen_model(checkpoint, dictionary_of(symbols), head, "--checkpoint")
    wanted = Wanted.of(logits=head is not None, states=range(checkpoint.shape.layers + 1))
    return model.signals(tokens, wanted, head)


def sentences(pair_format: str, pairs: bool = True, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a padded batch and its token types, [8, T] each."""
    generator = torch.Generator().manual_seed(seed)
    between = [2, 2] if pair_format == "roberta" else [2]

    def text():
        length = int(torch.randint(1, 9, (1,), generator=generator))
        return torch.randint(3, 65, (length,), generator=generator).tolist()

    rows, types = [], []
    for _ in range(8):
        first = [0, *text(), *(between if pairs else [2])]
        second = [*text(), 2] if pairs else []
        rows.append(torch.tensor(first + second))
        types.append(torch.tensor([0] * len(first) + [1] * len(second)))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True, padding_value=1), pad(types, batch_first=True)


def inputs_of(tokens: torch.Tensor, types: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Return a batch as transformers and onnxruntime take it."""
    inputs = {"input_ids": tokens, "attention_mask": tokens.ne(1).long()}
    return inputs if types is None else {**inputs, "token_type_ids": types}


def assert_same_signals(ours, theirs, mask: torch.Tensor) -> None:
    """Compare all states, and the logits if there are any, with an output of transformers."""
    assert 0 < mask.float().mean() < 1  # otherwise padding is not tried
    assert sorted(ours.states) == list(range(len(theirs.hidden_states)))
    for number, state in enumerate(theirs.hidden_states):
        assert_close(ours.states[number][mask], state[mask], atol=1e-5, rtol=1e-5)
    if ours.logits is not None:
        assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=1e-5)
