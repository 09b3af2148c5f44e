import torch

from fairseq_kd.data.sequences import encoder_input


def test_a_batch_has_a_flag_for_padding_and_the_positions_of_real_tokens():
    given = encoder_input([torch.tensor([0, 10, 10, 2]), torch.tensor([0, 10, 2])])
    assert given["src_tokens"].tolist() == [[0, 10, 10, 2], [0, 10, 2, 1]]
    assert given["padded"] is True
    assert given["real"].tolist() == [0, 1, 2, 3, 4, 5, 6]

    given = encoder_input([torch.tensor([0, 10, 2]), torch.tensor([0, 11, 2])])
    assert given["padded"] is False
    assert "real" not in given
