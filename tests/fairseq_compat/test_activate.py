"""The import hook in commands of stock fairseq, started in a folder outside the project."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fairseq import checkpoint_utils

BIN = Path(sys.executable).parent
MASKED_LM = "bin --cpu --task masked_lm --criterion masked_lm --batch-size 8"
TRAIN = f"""fairseq-train {MASKED_LM} --tokens-per-sample 16 --sample-break-mode eos
    --arch roberta_base --encoder-layers 1 --encoder-embed-dim 8 --encoder-ffn-embed-dim 8
    --encoder-attention-heads 2 --optimizer adam --adam-betas '(0.9, 0.98)' --lr 1e-3 --max-update 2 --save-dir saved
    --num-workers 0 --no-progress-bar"""


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_hydra_command_starts_without_warnings(tmp_path):
    done = run([str(BIN / "fairseq-hydra-train"), "--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hydra" in done.stdout.lower()


def test_an_unrelated_start_imports_neither_torch_nor_fairseq(tmp_path):
    heavy = "{'torch', 'fairseq', 'hydra', 'numpy', 'fairseq_compat.patches'}"
    code = f"import sys; print('fairseq_compat.activate' in sys.modules, {heavy} & set(sys.modules))"
    assert run([sys.executable, "-c", code], tmp_path).stdout == "True set()\n"


@pytest.mark.slow
def test_stock_preprocess_train_and_validate_work_together(tmp_path):
    """Masked LM in blocks that end with a sentence, for which fairseq uses `numpy.compat`."""
    (tmp_path / "text").write_text("a b c\nb c d e\nc a\n" * 8)

    for command in (
        "fairseq-preprocess --only-source --trainpref text --validpref text --destdir bin",
        TRAIN,
        f"fairseq-validate {MASKED_LM} --path saved/checkpoint_last.pt",
    ):
        program, *arguments = shlex.split(command)
        done = run([str(BIN / program), *arguments], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Warning" not in done.stderr

    assert "valid on 'valid' subset" in done.stderr + done.stdout


def test_tracebacks_still_find_the_source_of_a_hooked_module():
    source = checkpoint_utils.__spec__.loader.get_source("fairseq.checkpoint_utils")
    assert "def load_checkpoint_to_cpu" in source
