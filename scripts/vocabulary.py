"""Finds the encoder (tokenizer files) of a checkpoint, and checks that both have the same vocabulary."""

from pathlib import Path
from typing import TYPE_CHECKING

from fairseq_kd.data.metadata import dictionary_hash
from fairseq_kd.errors import CannotStart
from fairseq_kd.evaluation.provenance import find_dictionary
from preprocess import meta
from preprocess.encoder_files import VOCABULARIES
from preprocess.encoders import Encoder, load_encoder
from preprocess.vocabulary import symbols_hash

if TYPE_CHECKING:
    from fairseq_kd.models.checkpoint import Checkpoint


def encoder_folder(given: Path | None, checkpoint: "Checkpoint", doing: str, otherwise: str = "") -> Path:
    """Return the folder of the model's encoder: --encoder-dir, by default the checkpoint's folder.

    doing      verb of the error message: export, predict
    otherwise  end of the error message: what else the user can do
    """
    if given is not None:
        return given
    folder = checkpoint.path.parent
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise CannotStart(
            f"--checkpoint {checkpoint.path} has no vocabulary next to it: give --encoder-dir, as for preprocess.glue"
            f"{', ' + otherwise if otherwise else ''}.",
            doing=doing,
        )
    return folder


def matching_encoder(
    folder: Path, name: str | None, checkpoint: "Checkpoint", data: Path | None, doing: str
) -> Encoder:
    """Return the encoder in `folder`. Raises CannotStart unless model and training data have the same vocabulary.

    name   kind of the encoder (--encoder); None detects it
    data   training data of the checkpoint; None if it is gone
    doing  verb of the error message
    """
    encoder = load_encoder(folder, name)
    known = checkpoint.dictionary_hash or dictionary_hash(find_dictionary(data, checkpoint))
    if symbols_hash(encoder.symbols) != known or encoder.pair_format != checkpoint.shape.pair_format:
        raise CannotStart(
            f"--encoder-dir {folder} and --checkpoint {checkpoint.path} have different vocabularies: give the encoder of "
            "the model's training data.",
            doing=doing,
        )

    made_with = ((meta.read(data) if data else None) or {}).get("encoder", {}).get("hash", encoder.hash)
    if made_with != encoder.hash:
        raise CannotStart(
            f"--encoder-dir {folder} has the vocabulary of {data} but splits text differently (merges, casing): give the "
            "encoder of the data.",
            doing=doing,
        )
    return encoder
