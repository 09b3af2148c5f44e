import pytest
import torch

from fairseq_kd.data.words import word_starts
from fairseq_kd.errors import CannotStart
from tests.tiny import pretraining, write_text


def test_special_tokens_count_as_words(text, lm_teacher):
    dictionary = pretraining(text, lm_teacher, "kd")[0].dictionary
    assert word_starts(text, dictionary).tolist() == [1, 1, 1, 1, *[0, 1] * 30, 1]


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "--mask-whole-words needs .*word_starts.txt"), ("1\n", "has 1 lines, expected 60")],
)
def test_a_file_that_is_missing_or_of_another_vocabulary_is_refused(tmp_path, lm_teacher, content, found):
    text = write_text(tmp_path / "text")
    (text / "word_starts.txt").unlink()
    if content:
        (text / "word_starts.txt").write_text(content)
    task, _, _ = pretraining(text, lm_teacher, "kd", task={"mask_whole_words": True})
    with pytest.raises(CannotStart, match=found):
        task.load_dataset("train")


def test_whole_words_are_masked_together(text, lm_teacher):
    task, _, _ = pretraining(text, lm_teacher, "kd", task={"mask_whole_words": True})
    task.load_dataset("train")
    dataset = task.dataset("train")
    begins = task._mask_settings()["mask_whole_words"]
    for index in range(10):
        example = dataset[index]
        hidden = example["words"].ne(1)
        blocks = dataset.words.dataset[index]
        continues = begins[blocks].eq(0)
        assert torch.equal(hidden[1:][continues[1:]], hidden[:-1][continues[1:]])
