"""Masked-LM pre-training: blocks, masks and shards of running text, and what cannot be trained."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from torch.testing import assert_close

import fairseq_kd  # noqa: F401 - registers the criterions
from fairseq_kd.errors import CannotStart
from tests.runs import check_same_weights, losses, values_of
from tests.tiny import (
    ROOT,
    SHAPE,
    batch,
    build,
    pretraining,
    train_command,
    train_here,
    write_data,
    write_indexed,
    write_teacher,
    write_text,
)

TOKENS = 24


def pretrain(text, save_dir, *flags):
    return train_here(
        train_command(text, save_dir, f"--tokens-per-sample {TOKENS}", *flags, task="masked_lm_kd")
    )


def stock_task(text) -> MaskedLMTask:
    """Return fairseq's own task on the same blocks."""
    cfg = MaskedLMConfig(data=str(text), tokens_per_sample=TOKENS, sample_break_mode="complete", seed=1)
    task = MaskedLMTask.setup_task(cfg)
    task.load_dataset("train")
    return task


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_batches_are_those_of_fairseq(text, lm_teacher, epoch):
    ours, _, _ = pretraining(text, lm_teacher, "kd")
    ours.load_dataset("train")
    ours, stock = ours.dataset("train"), stock_task(text).dataset("train")
    for dataset in (ours, stock):
        dataset.set_epoch(epoch)

    assert ours.ordered_indices().tolist() == stock.ordered_indices().tolist()
    indices = ours.ordered_indices()[:6]
    mine, theirs = (dataset.collater([dataset[i] for i in indices]) for dataset in (ours, stock))
    assert_close(mine["net_input"]["src_tokens"], theirs["net_input"]["src_tokens"])
    masked = theirs["target"].ne(1)
    assert_close(mine["masked_words"], theirs["target"][masked])
    assert mine["nmasked"] == masked.sum()
    assert_close(mine["masked_sentences"], masked.nonzero()[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0, 9])
def test_each_epoch_masks_and_replaces_anew_unless_it_must_not(text, lm_teacher, noise):
    for frozen in (False, True):
        task, _, _ = pretraining(
            text, lm_teacher, "kd", task={"frozen_masking": frozen, "replaced_words": noise}
        )
        task.load_dataset("train")
        dataset, seen = task.dataset("train"), []
        for epoch in (1, 2, 1):
            dataset.set_epoch(epoch)
            seen.append([dataset[index]["tokens"].tolist() for index in range(len(dataset))])
        assert seen[0] == seen[2]
        assert (seen[0] == seen[1]) == frozen


@pytest.mark.slow
def test_training_blocks_can_be_short_and_noisy_and_those_of_validation_are_not(text, lm_teacher):
    def load(**options):
        task, _, _ = pretraining(text, lm_teacher, "kd", task=options)
        for split in ("train", "valid"):
            task.load_dataset(split)
        return task.dataset("train"), task.dataset("valid")

    (plain, valid), (changed, same) = load(), load(short_blocks=0.5, replaced_words=4)
    assert sum(changed.sizes) - len(changed) == sum(plain.sizes) - len(plain)  # but for one <s> a block
    assert len(changed) > 1.2 * len(plain)
    assert all(torch.equal(valid[index]["tokens"], same[index]["tokens"]) for index in range(len(valid)))

    noisy, _ = load(replaced_words=4)
    different = [(noisy[index]["tokens"] != plain[index]["tokens"]) for index in range(len(plain))]
    assert 0.3 * len(plain) < sum(bool(places.any()) for places in different) < 0.7 * len(plain)
    guessed = [plain[index]["words"].ne(1) for index in range(len(plain))]
    assert not any((places & words).any() for places, words in zip(different, guessed, strict=True))
    for index in range(len(plain)):
        assert torch.equal(noisy[index]["words"], plain[index]["words"])


def test_a_student_has_the_pair_format_of_the_encoder_of_its_text(tmp_path):
    text = write_text(tmp_path / "text")
    (text / "meta.json").write_text(json.dumps({"encoder": {"name": "wordpiece", "pair_format": "bert"}}))
    alone = {"hard_weight": 1.0, "soft_weight": 0.0, "layers": "random"}
    _, student, _ = pretraining(text, None, "kd", model={"_name": "roberta_student_3x384"}, **alone)
    assert (student.shape.pair_format, student.shape.segments) == ("bert", 2)

    pairs = write_data(tmp_path / "data", pair_format="bert")
    config = {"_name": "roberta_student", **student.shape.config()}
    torch.save(
        {"args": None, "cfg": {"model": config}, "model": student.state_dict()}, tmp_path / "student.pt"
    )
    model = {"init_from": str(tmp_path / "student.pt")}
    task, student, criterion = build(pairs, None, "kd", model=model, **alone | {"layers": "all"})
    assert criterion(student, batch(task, range(4)))[0].isfinite()


def test_running_text_is_one_segment(text, tmp_path):
    shape = replace(SHAPE, segments=2, pair_format="bert", layernorm_eps=1e-12)
    teacher = write_teacher(tmp_path / "model.pt", shape, classes=None, lm_head=True)
    task, student, criterion = pretraining(text, teacher, "kd")
    sample = batch(task, range(4), "train")
    loss, _, _ = criterion(student, sample)
    student.encoder.sentence_encoder.embed_segments.weight.data[1] += 100
    assert_close(criterion(student, sample)[0], loss)


OURS = sorted(name for name, made in CRITERION_REGISTRY.items() if made.__module__.startswith("fairseq_kd."))


@pytest.mark.slow
@pytest.mark.parametrize("method", OURS)
def test_every_criterion_but_those_the_docs_name_works(text, lm_teacher, method):
    docs = (ROOT / "docs" / "pretraining.md").read_text()
    excepted = re.search(r"All\s+criterions\s+work\s+here\s+except (.*?),", docs, re.S)[1]
    if method in re.findall("`(.*?)`", excepted):
        with pytest.raises(CannotStart, match=f"--criterion {method} .*class|no labels .*{method}"):
            pretraining(text, lm_teacher, method)
        return

    task, student, criterion = pretraining(text, lm_teacher, method)
    loss, _, _ = criterion(student, batch(task, [0, 1, 2], "train"))
    loss.backward()
    learned = [p.grad for p in student.parameters() if p.requires_grad]
    assert loss.isfinite()
    assert all(grad is not None and grad.isfinite().all() for grad in learned)
    assert sum(grad.abs().sum() for grad in learned) > 0


RANDOM = "--init-layers random --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 --max-positions 40"


@pytest.mark.slow
def test_words_are_learned_and_perplexity_is_logged(text, tmp_path):
    only_words = (
        "--criterion kd --hard-weight 1 --soft-weight 0 --encoder-attention-heads 4 --max-epoch 20 --lr 1e-2"
    )
    valid = values_of(pretrain(text, tmp_path, only_words, RANDOM), "valid")
    assert valid[-1]["valid_ppl"] < 0.85 * valid[0]["valid_ppl"] < 60


@pytest.mark.slow
def test_a_pretrained_student_is_fine_tuned(text, lm_teacher, data, tmp_path):
    minilm = "--criterion minilm --init-layers 0,3"
    pretrain(text, tmp_path / "pre", "--teacher", str(lm_teacher), minilm)
    flags = "--criterion kd --soft-weight 0 --hard-weight 1 --init-layers all --max-epoch 3"
    best = str(tmp_path / "pre" / "checkpoint_last.pt")
    rows = train_here(train_command(data, tmp_path / "fine", flags, "--init-from", best))
    assert len(values_of(rows, "valid")) == 3


@pytest.mark.parametrize(
    ("criterion", "options", "found"),
    [
        ("kd", {}, "has no masked-LM head, but --soft-weight above 0"),
        ("crd", {}, "has no labels for train, but --criterion crd needs them"),
        ("kd", {"model": {"init_head": True}}, "--init-head"),
        *(("att_kl_learn", {"task": task}, found) for task, found in [
            ({"tokens_per_sample": 64}, "--tokens-per-sample 64 is more than the student"),
            ({"mask_prob": 1.0}, "--mask-prob 1.0 is out of range"),
            ({"random_token_prob": 0.95}, "--leave-unmasked-prob 0.1 and --random-token-prob 0.95"),
            ({"vocabulary_chunk": 0}, "--vocabulary-chunk 0 is too few"),
            ({"short_blocks": 1.5}, "--short-blocks 1.5"),
            ({"max_tokens": 23}, "--max-tokens 23 is less than --tokens-per-sample 24"),
            ({"max_tokens_valid": 23}, "--max-tokens-valid 23 is less than --tokens-per-sample 24"),
            ({"replaced_words": -1}, "--replaced-words -1 is too few"),
        ]),
    ],
)  # fmt: skip
def test_what_cannot_be_pretrained_is_refused(text, tmp_path, criterion, options, found):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    with pytest.raises(CannotStart, match=found):
        pretraining(text, teacher, criterion, **options)


def test_a_teacher_without_lm_head_teaches_its_signals(text, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    task, student, criterion = pretraining(text, teacher, "att_kl_learn")
    assert task.initialized[-1] == "LM head: new"
    assert criterion(student, batch(task, [0, 1], "train"))[0] > 0


@pytest.mark.slow
def test_data_that_does_not_fit_is_named(text, lm_teacher, tmp_path):
    other = write_text(tmp_path / "other")
    (other / "dict.txt").write_text((other / "dict.txt").read_text().replace("w0 1", "v0 1"))
    with pytest.raises(CannotStart, match="number words differently"):
        pretraining(f"{text}:{other}", lm_teacher, "kd")
    with pytest.raises(CannotStart, match="has no dict.txt"):
        pretraining(tmp_path, lm_teacher, "kd")
    task, _, _ = pretraining(text, lm_teacher, "kd")
    with pytest.raises(CannotStart, match="has no split test"):
        task.load_dataset("test")


@pytest.mark.slow
def test_an_empty_split_is_named(text, lm_teacher, tmp_path):
    empty = write_text(tmp_path / "empty", lines=(("train", 0), ("valid", 0)))
    task, _, _ = pretraining(f"{text}:{empty}", lm_teacher, "kd")
    with pytest.raises(CannotStart, match="empty/train is empty"):
        task.load_dataset("train")  # of the first epoch, long before the empty shard's turn
    task, _, _ = pretraining(f"{empty}:{text}", lm_teacher, "kd")
    with pytest.raises(CannotStart, match="empty/valid is empty"):
        task.load_dataset("valid")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["complete", "complete_doc", "eos"])
def test_a_sentence_longer_than_a_block_is_named_before_training(text, lm_teacher, tmp_path, mode):
    second = write_text(tmp_path / "second", seed=1)
    write_indexed(second / "train", [np.array([*range(5, 10 + 20), 2])])  # 26 tokens, 27 with <s>
    given = {"sample_break_mode": mode}
    task, _, _ = pretraining(f"{text}:{second}", lm_teacher, "kd", task=given)
    found = "--tokens-per-sample 24 .* 27 tokens, .*second/train: give 27 or more, or .* --longest 23 or less"
    with pytest.raises(CannotStart, match=found):
        task.load_dataset("train")  # of the first shard
    task.load_dataset("valid")

    task, _, _ = pretraining(f"{text}:{second}", lm_teacher, "kd", task=given | {"tokens_per_sample": 27})
    task.load_dataset("train", epoch=2)
    assert task.dataset("train").sizes.tolist() == [27]


def test_filled_blocks_may_cut_sentences(text, lm_teacher):
    task, _, _ = pretraining(
        text, lm_teacher, "kd", task={"sample_break_mode": "none", "tokens_per_sample": 8}
    )
    task.load_dataset("train")
    assert task.dataset("train").sizes.max() == 8


def test_a_teacher_of_fewer_positions_is_named(text, tmp_path):
    short = write_teacher(tmp_path / "short.pt", replace(SHAPE, max_positions=16), classes=None, lm_head=True)
    sizes = {"encoder_layers": 2, "max_positions": 40}
    with pytest.raises(CannotStart, match=r"-per-sample 24 .* --teacher \S+ takes \(16 tokens\): give 16"):
        pretraining(text, short, "kd", layers="random", model=sizes)
    alone = {"hard_weight": 1.0, "soft_weight": 0.0}  # whom nobody asks, it may be as short as it likes
    pretraining(text, short, "kd", layers="random", model=sizes, **alone)


def test_each_epoch_reads_the_next_shard(text, lm_teacher, tmp_path):
    second = write_text(tmp_path / "second", lines=(("train", 30), ("valid", 5)), seed=1)
    task, _, _ = pretraining(f"{text}:{second}", lm_teacher, "kd")
    sizes = []
    for epoch in (1, 2, 3):
        task.load_dataset("train", epoch=epoch)
        task.get_batch_iterator(task.dataset("train"), max_sentences=4)
        sizes.append(len(task.dataset("train")))
    assert sizes[0] == sizes[2] > sizes[1]
    assert list(task.dataset_to_epoch_iter) == [task.dataset("train")]  # of the others nothing is kept


@pytest.mark.slow
def test_stopped_in_the_middle_of_a_shard_and_resumed_equals_straight_through(text, lm_teacher, tmp_path):
    shards = f"{text}:{write_text(tmp_path / 'second', seed=1)}"
    flags = (
        "--criterion minilm --hard-weight 0.5 --init-layers 0,3 --dropout 0.1 --max-epoch 3",
        "--teacher",
        str(lm_teacher),
    )
    straight = pretrain(shards, tmp_path / "straight", *flags)
    stop = len(losses(straight)) // 2
    assert values_of(straight, "train_inner")[stop]["epoch"] == 2  # in the second shard

    before = pretrain(shards, tmp_path / "stopped", *flags, f"--max-update {stop}")
    after = pretrain(shards, tmp_path / "stopped", *flags)
    assert losses(before + after) == losses(straight)
    check_same_weights(tmp_path / "stopped", tmp_path / "straight")


@pytest.mark.slow
def test_masks_of_an_epoch_do_not_depend_on_data_loading_processes(text, lm_teacher, tmp_path):
    flags = ("--criterion kd --init-layers 0,3 --max-epoch 2", "--teacher", str(lm_teacher))
    here, elsewhere = (losses(pretrain(text, tmp_path / n, *flags, f"--num-workers {n}")) for n in "01")
    assert elsewhere == here
