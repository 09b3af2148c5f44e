"""Reads a Hugging Face tokenizer folder in the same way as transformers: `read_tokenizer(folder)`.

The class is `tokenizer_class` in tokenizer_config.json, else the one in config.json, else that of the model type:

    BertTokenizer, RobertaTokenizer, XLMRobertaTokenizer    built from the vocabulary and tokenizer_config.json
    PreTrainedTokenizerFast, TokenizersBackend              built from tokenizer.json alone
    any other                                               rejected

For the classes of the first line, transformers 4 takes normalizer and pre-tokenizer from tokenizer.json, transformers 5
from the class. If they differ, the folder is rejected: it does not show which one its model was trained with.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from .encoder_files import checked_rows, damaged, part, read_object
from .errors import DataError
from .tokenizer_classes import (
    BERT_SETTINGS,
    CLASSES,
    CONFIG,
    DEFAULT_NAMES,
    FORMATS,
    OLD_ADDED,
    ROLES,
    TOKENIZER,
    build_tokenizer,
    content,
    post_processor,
)
from .vocabulary import (
    BERT_MASK,
    BERT_SPECIALS,
    MASK,
    SPECIALS,
    UNK,
    byte_symbols,
    dictionary_symbol,
    gpt2_ids,
    gpt2_symbol,
)

FILES = (TOKENIZER, CONFIG, "vocab.txt", "vocab.json", "merges.txt", OLD_ADDED, "special_tokens_map.json")
SPECIALS_IN_PAIR = {"roberta": 4, "bert": 3}
AS_IT_IS = ("PreTrainedTokenizerFast", "TokenizersBackend")

# All names in transformers, in the order in which it adds tokens that the vocabulary lacks.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# Return values of `_options` for the models of BERT and RoBERTa.
PLAIN_WORDPIECE = ("##", 100, BERT_SPECIALS[UNK])
PLAIN_BPE = ("", "", None, False, False)


@dataclass(frozen=True)
class HuggingFaceTokenizer:
    """A tokenizer whose ids are the rows of the model's embeddings.

    rust         tokenizer with its added tokens, without truncation and padding
    names        name of a special token, such as `cls_token` -> the token
    pair_format  format of sentence pairs: `bert` or `roberta`
    splits       whether text spelled like an added special token is ordinary text (`split_special_tokens`)
    cuts_left    whether transformers truncates on the left
    """

    folder: Path
    rust: Tokenizer
    names: Mapping[str, str]
    pair_format: str
    splits: bool
    cuts_left: bool

    @cached_property
    def rows(self) -> dict[str, int]:
        """Return token -> embedding row, including added tokens."""
        return checked_rows(self.folder, self.rust.get_vocab(with_added_tokens=True))

    @cached_property
    def state(self) -> dict[str, Any]:
        """Return the content of tokenizer.json."""
        return json.loads(self.rust.to_str())

    @property
    def roles(self) -> list[str]:
        """Return the five special tokens of the sequence format, in fairseq's order."""
        return [self.names[role] for role in ROLES]

    @property
    def ordinary(self) -> list[str]:
        """Return all other tokens, in the order of their rows."""
        return sorted(self.rows.keys() - {*self.roles}, key=self.rows.get)

    @property
    def added(self) -> list[dict[str, Any]]:
        """Return the added tokens without the five of `roles`, with their flags."""
        return [token for token in self.state["added_tokens"] if token["content"] not in self.roles]

    def order(self) -> list[int]:
        """Return the row of each fairseq index: the first four of `roles`, the ordinary tokens, the mask."""
        *first, mask = self.roles
        return [self.rows[token] for token in (*first, *self.ordinary, mask)]

    def symbols(self) -> list[str]:
        """Return the symbols of dict.txt; for a BPE, GPT-2's ids, so that RoBERTa's dict.txt equals fairseq's."""
        if self.state["model"]["type"] != "BPE":
            return [dictionary_symbol(token) for token in self.ordinary]
        ids = gpt2_ids(self.rows, self.merges)
        return [gpt2_symbol(token, ids) for token in self.ordinary]

    @property
    def merges(self) -> list[str]:
        """Return the merges of a BPE in order, each `left right`."""
        return [" ".join(pair) for pair in self.state["model"]["merges"]]

    def wordpiece_settings(self) -> dict[str, bool | None] | None:
        """Return the normalizer's settings if nothing else differs from BERT's own WordPiece, otherwise None."""
        state, model = self.state, self.state["model"]
        normalizer = dict(state["normalizer"] or {})
        plain = (
            self.pair_format == "bert"
            and self.roles == [*BERT_SPECIALS, BERT_MASK]
            and not self.added
            and (normalizer.pop("type", None), normalizer.pop("clean_text", None)) == ("BertNormalizer", True)
            and state["pre_tokenizer"] == {"type": "BertPreTokenizer"}
            and model["type"] == "WordPiece"
            and _options(model) == PLAIN_WORDPIECE
            and sorted(self.rows.values()) == list(range(len(self.rows)))
        )
        return {name: normalizer[name] for name in BERT_SETTINGS} if plain else None

    def is_gpt2(self) -> bool:
        """Return whether this is RoBERTa's byte-level BPE, which GPT-2's files can represent."""
        state = self.state
        return (
            self.pair_format == "roberta"
            and self.roles == [*SPECIALS, MASK]
            and not self.added
            and state["normalizer"] is None
            and _essence(state["pre_tokenizer"])
            == {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
            and state["model"]["type"] == "BPE"
            and _options(state["model"]) == PLAIN_BPE
        )

    def text_state(self) -> dict[str, Any]:
        """Return `state` with the flags that `encode_special_tokens` needs to recognise the right tokens in text.

        With that setting the library ignores special tokens. Only the five of `roles` are flagged special, and the
        other special tokens if `splits`. The vocabulary of a Unigram model has the special tokens as pieces: a last
        pre-tokenizer splits text that spells them after its first character.
        """
        added = [
            {**token, "special": token["content"] in self.roles or (self.splits and token["special"])}
            for token in self.state["added_tokens"]
        ]
        state = {**self.state, "added_tokens": added, "post_processor": None}
        if state["model"]["type"] == "Unigram":
            spelled = "|".join(f"{re.escape(role[0])}(?={re.escape(role[1:])})" for role in self.roles)
            split = {
                "type": "Split",
                "pattern": {"Regex": spelled},
                "behavior": "MergedWithPrevious",
                "invert": False,
            }
            steps = [step for step in (state["pre_tokenizer"], split) if step is not None]
            state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
        return state

    def config(self) -> dict[str, Any]:
        """Return the content of a tokenizer_config.json with which transformers uses tokenizer.json."""
        pre_tokenizer = self.state["pre_tokenizer"] or {}
        prefix = {name: value for name, value in pre_tokenizer.items() if name == "add_prefix_space"}
        splits = {"split_special_tokens": True} if self.splits else {}
        return {"tokenizer_class": AS_IT_IS[0], **prefix, **splits, **self.names}

    def summary(self) -> str:
        """Return the names of the tokenizer's parts."""
        parts = [self.state["model"]["type"]]
        for name, members in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
            step = self.state[name] or {members: []}
            for each in step.get(members, [step]):
                parts.append(each["type"] + (" with a prefix space" if each.get("add_prefix_space") else ""))
        if self.added:
            parts.append(f"{len(self.added)} added token{'s' if len(self.added) > 1 else ''}")
        return ", ".join(parts)


def read_tokenizer(
    folder: Path, kind: str | None = None, class_name: str | None = None
) -> HuggingFaceTokenizer:
    """Return the tokenizer in `folder`.

    kind        model type, `bert`, `roberta` or `xlm-roberta` (default: detected from the files)
    class_name  `tokenizer_class` of config.json, used if tokenizer_config.json has none

    Raises DataError if files are missing or damaged, or if ids could differ from transformers.
    """
    settings = _read_settings(folder)
    full = read_object(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None
    name = settings.get("tokenizer_class") or class_name or _class_of(folder, kind, full)
    class_name = str(name).removesuffix("Fast") if name not in AS_IT_IS else name
    if settings.get("auto_map"):
        raise DataError(
            f"{folder}: the tokenizer needs its own code (auto_map in {CONFIG}), which is not executed: use a model with a "
            "tokenizer of transformers."
        )

    if class_name in FORMATS:
        pair_format = FORMATS[class_name]
        names = {**DEFAULT_NAMES[pair_format], **_names(settings)}
        rust = build_tokenizer(class_name, folder, full, settings, names)
        if full is not None:
            _check_agreement(folder, class_name, _load(folder, full), rust)
    elif class_name in AS_IT_IS and full is not None:
        names = _names(settings)
        rust = _load(folder, full)
        _check_prefix(folder, full, settings)
    else:
        raise DataError(
            f"{folder} has the tokenizer_class {class_name}, but supported classes are {', '.join(FORMATS)}, and with "
            f"{TOKENIZER} also {' and '.join(AS_IT_IS)}: if {TOKENIZER} alone describes its tokenizer, set tokenizer_class "
            f"to {AS_IT_IS[0]} in {CONFIG}, or use another model."
        )

    stated = [] if full is None else full.get("added_tokens") or []
    try:
        _add_tokens(rust, settings, names, stated)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise damaged(folder / CONFIG, f"describes tokens that cannot be read ({error})") from None
    if class_name in FORMATS:
        first, last = ((names[role], rust.token_to_id(names[role])) for role in ("cls_token", "sep_token"))
        rust.post_processor = post_processor(pair_format, first, last)
        _check_added(folder, class_name, stated, rust, names)
    return HuggingFaceTokenizer(
        folder,
        rust,
        {name: token for name, token in names.items() if name in NAMED},
        _checked_format(folder, rust, names),
        bool(settings.get("split_special_tokens")),
        settings.get("truncation_side") == "left",
    )


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json; if it lists no added tokens, merged with the two older files, as in transformers.

    The content of added_tokens.json is under its file name.
    """
    settings = read_object(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if "additional_special_tokens" in settings:  # the older name
        settings.setdefault("extra_special_tokens", settings.pop("additional_special_tokens"))
    if "added_tokens_decoder" not in settings:
        names, added = folder / "special_tokens_map.json", folder / OLD_ADDED
        settings |= read_object(names) if names.is_file() else {}
        found = read_object(added) if added.is_file() else {}
        settings[OLD_ADDED] = checked_rows(added, found) if found else {}
    return settings


def _class_of(folder: Path, kind: str | None, full: dict[str, Any] | None) -> str:
    """Return the class of the model type, which transformers uses if no file names a class."""
    if kind is None:
        if full is not None:
            types = {"BPE": "roberta", "Unigram": "xlm-roberta"}
            kind = types.get(part(folder / TOKENIZER, full, "model").get("type"), "bert")
        else:
            kind = "roberta" if (folder / "vocab.json").is_file() else "bert"
    return CLASSES[kind]


def _names(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens in `settings`, by name such as `cls_token`."""
    found = {name: content(value) for name, value in settings.items() if name.endswith("_token")}
    return {name: token for name, token in found.items() if token is not None}


def _load(folder: Path, full: Mapping[str, Any]) -> Tokenizer:
    try:
        rust = Tokenizer.from_str(json.dumps(full))
    except Exception as error:  # the library raises bare Exceptions
        raise damaged(folder / TOKENIZER, f"cannot be read by the library tokenizers ({error})") from None
    rust.no_truncation()
    rust.no_padding()
    if full["model"].get("dropout"):
        raise DataError(f"{folder / TOKENIZER} sets BPE dropout, which makes ids random: set it to null.")
    return rust


def _check_agreement(folder: Path, class_name: str, stated: Tokenizer, built: Tokenizer) -> None:
    """Raise DataError if tokenizer.json describes another tokenizer than the class builds.

    The class's own settings override tokenizer.json in every version of transformers, even their defaults.
    """
    usual, specials = SPECIALS_IN_PAIR[FORMATS[class_name]], stated.num_special_tokens_to_add(is_pair=True)
    there, here = json.loads(stated.to_str()), json.loads(built.to_str())
    if there["post_processor"] is not None and specials != usual:
        counts = [f"{number} special tokens in a pair" for number in (specials, usual)]
        raise DataError(_disagreement(folder, class_name, "post_processor", *counts))
    own = {*BERT_SETTINGS, "add_prefix_space"}
    for name in ("normalizer", "pre_tokenizer"):
        theirs, ours = _essence(there[name]), _essence(here[name])
        if theirs is not None and ours is not None and theirs["type"] == ours["type"]:
            theirs |= {key: ours[key] for key in own & ours.keys()}
        if theirs != ours:
            raise DataError(_disagreement(folder, class_name, name, theirs, ours))
    options = [_options(state["model"]) for state in (there, here)]
    if options[0] != options[1]:
        raise DataError(_disagreement(folder, class_name, "model", *options))


def _disagreement(folder: Path, class_name: str, what: str, theirs: Any, ours: Any) -> str:
    return (
        f"{folder / TOKENIZER} has the {what} {json.dumps(theirs)}, but {class_name} has {json.dumps(ours)}, and versions "
        f"of transformers differ in which one they use: set tokenizer_class to {AS_IT_IS[0]} in {CONFIG} to follow "
        f"{TOKENIZER}, or remove {TOKENIZER} and keep the vocabulary's own files to follow the class."
    )


def _check_prefix(folder: Path, full: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise DataError if tokenizer_config.json and tokenizer.json differ in the prefix space."""
    pre_tokenizer = full.get("pre_tokenizer") or {}
    stated, given = pre_tokenizer.get("add_prefix_space"), settings.get("add_prefix_space")
    if None not in (stated, given) and stated != given:
        raise DataError(
            f"{folder} sets add_prefix_space to {json.dumps(given)} in {CONFIG} and to {json.dumps(stated)} in {TOKENIZER}, "
            "and versions of transformers differ in which one they use: set both to the one that the model was trained with."
        )


def _check_added(
    folder: Path, class_name: str, stated: list[Any], rust: Tokenizer, names: Mapping[str, str]
) -> None:
    """Raise DataError if tokenizer.json adds a token that is not in tokenizer_config.json."""
    found = {token.content for token in rust.get_added_tokens_decoder().values()} | {*names.values()}
    missing = [token["content"] for token in stated if token["content"] not in found]
    if missing:
        raise DataError(_disagreement(folder, class_name, "added token", missing[0], None))


def _essence(step: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a normalizer or pre-tokenizer without the option that does not affect ids."""
    return None if step is None else {name: value for name, value in step.items() if name != "trim_offsets"}


def _options(model: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the options of a model that affect ids."""
    if model["type"] == "WordPiece":
        return tuple(
            model[name] for name in ("continuing_subword_prefix", "max_input_chars_per_word", "unk_token")
        )
    if model["type"] == "Unigram":
        return (model["type"], model["unk_id"], model["byte_fallback"])
    if model["type"] != "BPE":
        return (model["type"],)
    # A vocabulary with all bytes never produces the unknown token.
    unknown = None if {*byte_symbols()} <= model["vocab"].keys() else model["unk_token"]
    affixes = (model[name] or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    return (*affixes, unknown, bool(model["byte_fallback"]), bool(model.get("ignore_merges")))


def _add_tokens(
    rust: Tokenizer, settings: Mapping[str, Any], names: Mapping[str, str], stated: list[dict[str, Any]]
) -> None:
    """Add the same tokens as transformers in the same order, because the order determines the ids of new tokens."""
    named = _tokens(settings.get("extra_special_tokens"))
    extra = named or _tokens(settings.get("additional_special_tokens"))  # of special_tokens_map.json
    if "added_tokens_decoder" in settings:
        listed = {int(row): _token(token) for row, token in settings["added_tokens_decoder"].items()}
    else:
        special = {*names.values(), *(token.content for token in named)}
        listed = {
            row: AddedToken(token, normalized=token not in special, special=token in special)
            for token, row in settings.get(OLD_ADDED, {}).items()
        }
        listed |= {token["id"]: _token(token) for token in stated}

    present = list(rust.get_added_tokens_decoder().values())
    same = {repr(token) for token in present}
    new = [token for _, token in sorted(listed.items()) if repr(token) not in same]
    known = {token.content for token in (*present, *new)}
    others = [name for name in names if name not in NAMED]
    for token in (*(_token(names[name]) for name in (*NAMED, *others) if name in names), *extra):
        if token.content not in known:
            new.append(token)
            known.add(token.content)
    for token in new:
        token.special = token.special or token.content in names.values()
    rust.add_tokens(new)


def _tokens(values: Any) -> list[AddedToken]:
    """Return additional special tokens, given as a list or as an object name -> token."""
    return [_token(value, True) for value in (values.values() if isinstance(values, dict) else values or [])]


def _token(value: Any, special: bool = False) -> AddedToken:
    """Return a token from its description: the content of a special token, or content and flags.

    special  value of the flag `special` if it is missing
    """
    if isinstance(value, str):
        return AddedToken(value, special=True, normalized=False)
    flags = {name: value[name] for name in ("single_word", "lstrip", "rstrip", "normalized") if name in value}
    return AddedToken(value["content"], special=value.get("special", special), **flags)


def _checked_format(folder: Path, rust: Tokenizer, names: Mapping[str, str]) -> str:
    """Return the pair format. Raises DataError if a special token is missing or the format is unknown."""
    missing = [role for role in ROLES if role not in names]
    if missing:
        raise DataError(f"{folder} names no {', '.join(missing)}: add to {CONFIG}.")
    repeated = [token for token, times in Counter(names[role] for role in ROLES).items() if times > 1]
    if repeated:
        raise DataError(f"{folder} uses {repeated[0]!r} for two of {', '.join(ROLES)}, use another model.")

    cls, sep = (rust.token_to_id(names[role]) for role in ("cls_token", "sep_token"))
    text = rust.encode("a", add_special_tokens=False).ids
    pair = rust.encode("a", "a")
    if rust.encode("a").ids == [cls, *text, sep]:
        if pair.ids == [cls, *text, sep, sep, *text, sep]:
            return "roberta"
        if pair.ids == [cls, *text, sep, *text, sep] and sum(pair.type_ids) == len(text) + 1:
            return "bert"
    raise DataError(
        f"{folder / TOKENIZER} joins sentences and special tokens neither as BERT nor as RoBERTa does (its post_processor): "
        "use another model."
    )
