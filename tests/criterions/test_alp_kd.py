import pytest

from tests.runs import values_of
from tests.tiny import distil_command, train_here


@pytest.mark.slow
def test_validation_logs_the_attention(data, teacher, tmp_path):
    rows = train_here(distil_command(data, tmp_path, teacher, "alp_kd", "--alp-scope tokens"))
    [valid] = values_of(rows, "valid")
    for layer in (1, 2):
        alphas = [valid[f"valid_alpha_{layer}_{number}"] for number in (1, 2, 3, 4)]
        assert sum(alphas) == pytest.approx(1, abs=1e-3)
    assert not any("alpha" in name for values in values_of(rows, "train_inner") for name in values)
