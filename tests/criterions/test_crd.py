import numpy as np
import pytest

from fairseq_kd.errors import CannotStart
from tests.criterions.factory import criterion_of


def test_without_its_own_term_it_is_kd():
    criterion = criterion_of("crd --inter-weight 0")
    assert criterion.crd is None
    assert criterion.label_flags() == ["--hard-weight"]
    assert not criterion.student_wanted.states
    assert criterion_of("crd").label_flags() == ["--hard-weight", "--inter-weight"]


def test_memory_banks_of_another_training_set_are_refused():
    before, now = (criterion_of("crd", train_labels=lambda n=n: np.arange(n) % 2) for n in (64, 50))
    with pytest.raises(CannotStart, match="crd .* 64 sentences, but .* has 50: resume with the same"):
        now.load_state_dict(before.state_dict())
