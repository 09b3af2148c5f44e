"""Masked-LM pre-training: the same numbers as fairseq's own, whatever the batch, the chunk or the padding."""

import re
from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.models.roberta import RobertaModel, base_architecture
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from torch.testing import assert_close

import fairseq_kd  # noqa: F401 - registers the criterions
from fairseq_kd.errors import CannotStart
from fairseq_kd.losses import attention_kl, kd
from tests.tiny import (
    ROOT,
    SHAPE,
    batch,
    build,
    train_command,
    train_here,
    write_indexed,
    write_teacher,
    write_text,
)

TOKENS = 24
TASK = {"tokens_per_sample": TOKENS, "sample_break_mode": "complete"}
FLAGS = ["--tokens-per-sample", str(TOKENS)]
METHODS = [
    ("kd", {"hard_weight": 0.5, "soft_weight": 0.5}),
    ("kd", {}),
    ("att_kl_learn", {}),
    ("att_kl_learn", {"hard_weight": 0.5, "soft_weight": 0.5}),
    ("hidden_mse_learn", {"mapping": "combine"}),
    ("minilm", {}),
    ("minilm_v2", {"hard_weight": 1.0}),
    ("lad", {}),
    ("alp_kd", {"alp_scope": "tokens"}),
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("lm") / "model.pt", classes=None, lm_head=True)


def pretraining(text, teacher, criterion, task=(), **options):
    return build(text, teacher, criterion, task=TASK | dict(task), task_name="masked_lm_kd", **options)


def pretrain(text, save_dir, *flags):
    return train_here(train_command(text, save_dir, *FLAGS, *flags, task="masked_lm_kd"))


def stock_task(text):
    task = MaskedLMTask.setup_task(
        MaskedLMConfig(data=str(text), tokens_per_sample=TOKENS, sample_break_mode="complete", seed=1)
    )
    task.load_dataset("train")
    return task


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_batches_are_those_of_fairseq(text, teacher, epoch):
    ours, _, _ = pretraining(text, teacher, "kd")
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
def test_each_epoch_masks_and_replaces_anew_unless_it_must_not(text, teacher, noise):
    for frozen in (False, True):
        task, _, _ = pretraining(
            text, teacher, "kd", task={"frozen_masking": frozen, "replaced_words": noise}
        )
        task.load_dataset("train")
        dataset, seen = task.dataset("train"), []
        for epoch in (1, 2, 1):
            dataset.set_epoch(epoch)
            seen.append([dataset[index]["tokens"].tolist() for index in range(len(dataset))])
        assert seen[0] == seen[2]
        assert (seen[0] == seen[1]) == frozen


@pytest.mark.slow
def test_training_blocks_can_be_short_and_noisy_and_those_of_validation_are_not(text, teacher):
    def load(**options):
        task, _, _ = pretraining(text, teacher, "kd", task=options)
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


@pytest.mark.slow
def test_plain_masked_lm_is_that_of_fairseq(text, teacher):
    task, student, criterion = pretraining(text, None, "kd", hard_weight=1.0, soft_weight=0.0,
                                           layers="all", model={"init_from": str(teacher)})  # fmt: skip
    sizes = {
        "encoder_layers": SHAPE.layers,
        "encoder_embed_dim": SHAPE.width,
        "encoder_ffn_embed_dim": SHAPE.ffn,
        "encoder_attention_heads": SHAPE.heads,
        "max_positions": SHAPE.max_positions,
    }
    args = Namespace(**sizes)
    base_architecture(args)
    stock = stock_task(text)
    model = RobertaModel.build_model(args, stock)
    model.load_state_dict(student.state_dict(), strict=False)
    reference = MaskedLmLoss(SimpleNamespace(tpu=False), stock)

    indices = task_indices(task, "train")
    expected, size, _ = reference(model.eval(), collated(stock.dataset("train"), indices))
    found, ours, logged_here = criterion(student, batch(task, indices, "train"))

    assert ours == int(size)
    assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert_close(logged_here["token_hard"], expected.detach(), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_a_batch_is_its_blocks_one_by_one(text, teacher, method, options):
    task, student, criterion = pretraining(text, teacher, method, **options)
    indices = task_indices(task, "train")

    together, size, _ = criterion(student, batch(task, indices, "train"))
    alone = [criterion(student, batch(task, [index], "train"))[:2] for index in indices]

    assert_close(together, sum(loss for loss, _ in alone), rtol=1e-5, atol=1e-4)
    assert size == sum(part for _, part in alone)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 5])
def test_the_size_of_a_chunk_changes_nothing(text, teacher, chunk):
    found = []
    for size in (chunk, 1000):
        task, student, criterion = pretraining(
            text, teacher, "kd", hard_weight=0.3, soft_weight=0.7, task={"vocabulary_chunk": size}
        )
        loss, _, _ = criterion(student, batch(task, range(6), "train"))
        parameters = [p for p in student.parameters() if p.requires_grad]
        found.append((loss, torch.autograd.grad(loss, parameters)))

    (loss, gradients), (whole, expected) = found
    assert_close(loss, whole)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_perplexity_can_choose_the_checkpoint_where_words_are_learned(text, teacher):
    logged_by = {
        weight: pretraining(text, teacher, "att_kl_learn", hard_weight=weight)[2].metric_names()
        for weight in (0.0, 1.0)
    }
    assert "ppl" in logged_by[1.0]
    assert "ppl" not in logged_by[0.0]


def test_token_and_sentence_terms_add_up_by_hand(text, teacher):
    task, student, criterion = pretraining(
        text, teacher, "att_kl_learn", hard_weight=0.0, soft_weight=0.7, inter_weight=2.0
    )
    sample = batch(task, range(5), "train")
    loss, size, _ = criterion(student, sample)

    given = sample["net_input"]
    wanted = criterion.student_wanted | criterion.teacher_wanted
    s = student(**given, wanted=criterion.student_wanted)
    t = task.teacher.signals(sample, wanted)
    words = kd(s.lm_head(s.masked), t.lm_head(t.masked), 2.0).sum()
    attention = sum(
        attention_kl(s.attention[i], t.attention[j], s.mask).sum() for i, j in criterion.attention.pairs
    )
    assert size == sample["nmasked"] == len(sample["masked_words"])
    assert_close(loss, 0.7 * words + 2.0 * (0.15 * TOKENS) * attention)


def test_without_words_the_loss_is_a_mean_over_blocks(text, teacher):
    task, student, criterion = pretraining(text, teacher, "att_kl_learn")
    sample = batch(task, range(5), "train")
    loss, size, logged_here = criterion(student, sample)

    assert size == 5
    assert_close(loss.detach(), logged_here["term_attention"])
    assert not criterion.student_wanted.logits
    assert not student.encoder.lm_head.dense.weight.requires_grad


def test_running_text_is_one_segment(text, tmp_path):
    shape = replace(SHAPE, segments=2, pair_format="bert", layernorm_eps=1e-12)
    teacher = write_teacher(tmp_path / "model.pt", shape, classes=None, lm_head=True)
    task, student, criterion = pretraining(text, teacher, "kd")
    sample = batch(task, range(4), "train")
    loss, _, _ = criterion(student, sample)
    student.encoder.sentence_encoder.embed_segments.weight.data[1] += 100
    assert_close(criterion(student, sample)[0], loss)


def test_whole_words_are_masked_together(text, teacher):
    task, _, _ = pretraining(text, teacher, "kd", task={"mask_whole_words": True})
    task.load_dataset("train")
    dataset = task.dataset("train")
    begins = task._mask_settings()["mask_whole_words"]
    for index in range(10):
        example = dataset[index]
        hidden = example["words"].ne(1)
        blocks = dataset.words.dataset[index]
        continues = begins[blocks].eq(0)
        assert torch.equal(hidden[1:][continues[1:]], hidden[:-1][continues[1:]])


OURS = sorted(name for name, made in CRITERION_REGISTRY.items() if made.__module__.startswith("fairseq_kd."))


@pytest.mark.slow
@pytest.mark.parametrize("method", OURS)
def test_every_criterion_but_those_the_docs_name_works(text, teacher, method):
    docs = (ROOT / "docs" / "pretraining.md").read_text()
    need_classes = re.findall(
        "`(.*?)`", re.search(r"All\s+criterions\s+work\s+here\s+except (.*?),", docs, re.S)[1]
    )
    if method in need_classes:
        with pytest.raises(
            CannotStart, match=f"--criterion {method} .*class|has no labels .*--criterion {method}"
        ):
            pretraining(text, teacher, method)
        return

    task, student, criterion = pretraining(text, teacher, method)
    loss, _, _ = criterion(student, batch(task, [0, 1, 2], "train"))
    loss.backward()
    learned = [p.grad for p in student.parameters() if p.requires_grad]
    assert loss.isfinite()
    assert all(grad is not None and grad.isfinite().all() for grad in learned)
    assert sum(grad.abs().sum() for grad in learned) > 0


@pytest.mark.slow
def test_words_are_learned_and_perplexity_is_told(text, teacher, tmp_path):
    rows = pretrain(text, tmp_path, "--criterion", "kd", "--hard-weight", "1", "--soft-weight", "0",
                    "--init-layers", "random", "--arch", "roberta_student", "--encoder-layers", "2",
                    "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32", "--encoder-attention-heads", "4",
                    "--max-positions", "40", "--max-epoch", "20", "--lr", "1e-2")  # fmt: skip
    valid = [values for tag, values in rows if tag == "valid"]
    assert valid[-1]["valid_ppl"] < 0.85 * valid[0]["valid_ppl"] < 60


@pytest.mark.slow
def test_a_pretrained_student_is_fine_tuned(text, teacher, data, tmp_path):
    pretrain(
        text, tmp_path / "pre", "--teacher", str(teacher), "--criterion", "minilm", "--init-layers", "0,3"
    )
    flags = (
        "--criterion kd --soft-weight 0 --hard-weight 1 --init-layers all --max-epoch 3 --init-from".split()
    )
    best = str(tmp_path / "pre" / "checkpoint_last.pt")
    rows = train_here(train_command(data, tmp_path / "fine", *flags, best))
    assert [values for tag, values in rows if tag == "valid"]


@pytest.mark.parametrize(
    ("criterion", "options", "message"),
    [
        ("kd", {}, "has no masked-LM head, but --soft-weight above 0"),
        ("crd", {}, "has no labels for train, but --criterion crd needs them"),
        (
            "att_kl_learn",
            {"task": {"tokens_per_sample": 64}},
            "--tokens-per-sample 64 is more than the student",
        ),
        ("att_kl_learn", {"task": {"mask_prob": 1.0}}, "--mask-prob 1.0 is out of range"),
        (
            "att_kl_learn",
            {"task": {"random_token_prob": 0.95}},
            "--leave-unmasked-prob 0.1 and --random-token-prob 0.95",
        ),
        ("att_kl_learn", {"task": {"vocabulary_chunk": 0}}, "--vocabulary-chunk 0 is too few"),
        ("kd", {"model": {"init_head": True}}, "--init-head"),
        ("att_kl_learn", {"task": {"short_blocks": 1.5}}, "--short-blocks 1.5"),
        ("kd", {"task": {"max_tokens": 23}}, "--max-tokens 23 is less than --tokens-per-sample 24"),
        (
            "kd",
            {"task": {"max_tokens_valid": 23}},
            "--max-tokens-valid 23 is less than --tokens-per-sample 24",
        ),
        ("att_kl_learn", {"task": {"replaced_words": -1}}, "--replaced-words -1 is too few"),
    ],
)
def test_what_cannot_be_pretrained_is_said(text, tmp_path, criterion, options, message):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    with pytest.raises(CannotStart, match=message):
        pretraining(text, teacher, criterion, **options)


def test_a_teacher_without_lm_head_teaches_its_signals(text, tmp_path):
    teacher = write_teacher(tmp_path / "model.pt", classes=None)
    task, student, criterion = pretraining(text, teacher, "att_kl_learn")
    assert task.initialized[-1] == "LM head: new"
    assert criterion(student, batch(task, [0, 1], "train"))[0] > 0


@pytest.mark.slow
def test_data_that_does_not_fit_is_named(text, teacher, tmp_path):
    other = write_text(tmp_path / "other")
    (other / "dict.txt").write_text((other / "dict.txt").read_text().replace("w0 1", "v0 1"))
    with pytest.raises(CannotStart, match="number words differently"):
        pretraining(f"{text}:{other}", teacher, "kd")
    with pytest.raises(CannotStart, match="has no dict.txt"):
        pretraining(tmp_path, teacher, "kd")
    (other / "word_starts.txt").write_text("1\n")
    task, _, _ = pretraining(text, teacher, "kd")
    with pytest.raises(CannotStart, match="has no split test"):
        task.load_dataset("test")


@pytest.mark.slow
def test_an_empty_split_is_named(text, teacher, tmp_path):
    empty = write_text(tmp_path / "empty", lines=(("train", 0), ("valid", 0)))
    task, _, _ = pretraining(f"{text}:{empty}", teacher, "kd")
    with pytest.raises(CannotStart, match="empty/train is empty"):
        task.load_dataset("train")  # of the first epoch, long before the empty shard's turn
    task, _, _ = pretraining(f"{empty}:{text}", teacher, "kd")
    with pytest.raises(CannotStart, match="empty/valid is empty"):
        task.load_dataset("valid")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["complete", "complete_doc", "eos"])
def test_a_sentence_longer_than_a_block_is_named_before_training(text, teacher, tmp_path, mode):
    second = write_text(tmp_path / "second", seed=1)
    write_indexed(second / "train", [np.array([*range(5, 10 + 20), 2])])  # 26 tokens, 27 with <s>
    given = {"sample_break_mode": mode}
    task, _, _ = pretraining(f"{text}:{second}", teacher, "kd", task=given)
    found = (
        r"--tokens-per-sample 24 .* 27 tokens, .*second/train: give 27 or more, or .* --longest 23 or less"
    )
    with pytest.raises(CannotStart, match=found):
        task.load_dataset("train")  # of the first shard
    task.load_dataset("valid")

    task, _, _ = pretraining(f"{text}:{second}", teacher, "kd", task=given | {"tokens_per_sample": 27})
    task.load_dataset("train", epoch=2)
    assert task.dataset("train").sizes.tolist() == [27]


def test_filled_blocks_may_cut_sentences(text, teacher):
    task, _, _ = pretraining(text, teacher, "kd", task={"sample_break_mode": "none", "tokens_per_sample": 8})
    task.load_dataset("train")
    assert task.dataset("train").sizes.max() == 8


def test_a_teacher_of_fewer_positions_is_named(text, tmp_path):
    short = write_teacher(tmp_path / "short.pt", replace(SHAPE, max_positions=16), classes=None, lm_head=True)
    sizes = {"encoder_layers": 2, "max_positions": 40}
    with pytest.raises(
        CannotStart, match=r"--tokens-per-sample 24 is more than --teacher \S+ takes \(16 tokens\): give 16"
    ):
        pretraining(text, short, "kd", layers="random", model=sizes)
    alone = {"hard_weight": 1.0, "soft_weight": 0.0}  # whom nobody asks, it may be as short as it likes
    pretraining(text, short, "kd", layers="random", model=sizes, **alone)


def test_each_epoch_reads_the_next_shard(text, teacher, tmp_path):
    second = write_text(tmp_path / "second", lines=(("train", 30), ("valid", 5)), seed=1)
    task, _, _ = pretraining(f"{text}:{second}", teacher, "kd")
    sizes = []
    for epoch in (1, 2, 3):
        task.load_dataset("train", epoch=epoch)
        task.get_batch_iterator(task.dataset("train"), max_sentences=4)
        sizes.append(len(task.dataset("train")))
    assert sizes[0] == sizes[2] > sizes[1]
    assert list(task.dataset_to_epoch_iter) == [task.dataset("train")]  # of the others nothing is kept


@pytest.mark.slow
def test_stopped_in_the_middle_of_a_shard_and_resumed_equals_straight_through(text, teacher, tmp_path):
    second = write_text(tmp_path / "second", seed=1)
    flags = ["--teacher", str(teacher), "--criterion", "minilm", "--hard-weight", "0.5", "--init-layers", "0,3",
             "--dropout", "0.1", "--max-epoch", "3"]  # fmt: skip
    shards = f"{text}:{second}"
    straight = pretrain(shards, tmp_path / "straight", *flags)
    updates = [values for tag, values in straight if tag == "train_inner"]
    stop = len(updates) // 2
    assert updates[stop]["epoch"] == 2  # in the second shard

    before = pretrain(shards, tmp_path / "stopped", *flags, "--max-update", str(stop))
    after = pretrain(shards, tmp_path / "stopped", *flags)
    found = [values for tag, values in before + after if tag == "train_inner"]
    assert [values["loss"] for values in found] == [values["loss"] for values in updates]

    expected, resumed = (
        torch.load(tmp_path / run / "checkpoint_last.pt", weights_only=True)
        for run in ("straight", "stopped")
    )
    for name, value in expected["model"].items():
        assert torch.equal(resumed["model"][name], value), name


@pytest.mark.slow
def test_masks_of_an_epoch_do_not_depend_on_data_loading_processes(text, teacher, tmp_path):
    flags = ["--teacher", str(teacher), "--criterion", "kd", "--init-layers", "0,3", "--max-epoch", "2"]
    here, elsewhere = (
        pretrain(text, tmp_path / count, *flags, "--num-workers", count) for count in ("0", "1")
    )
    assert [values["loss"] for tag, values in elsewhere if tag == "train_inner"] == [
        values["loss"] for tag, values in here if tag == "train_inner"
    ]


def task_indices(task, split):
    if split not in task.datasets:
        task.load_dataset(split)
    return task.dataset(split).ordered_indices()[:7].tolist()


def collated(dataset, indices):
    return dataset.collater([dataset[index] for index in indices])
