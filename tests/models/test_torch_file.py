import argparse
import os

import pytest
import torch

from fairseq_kd.models.torch_file import UnsafeFile, load_torch_file


class Malicious:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_all_formats_are_read(tmp_path, zipped):
    state = {"args": argparse.Namespace(a=1), "model": {"b": torch.ones(2)}}
    torch.save(state, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    found = load_torch_file(tmp_path / "model.pt")
    assert (found["args"].a, found["model"]["b"].tolist()) == (1, [1, 1])


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"model": Malicious()}, tmp_path / "model.pt")
    with pytest.raises(UnsafeFile, match="system"):
        load_torch_file(tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_truncated_anywhere_is_an_error(tmp_path, zipped):
    path = tmp_path / "model.pt"
    torch.save({"model": {"a": torch.zeros(9)}}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError):  # noqa: PT011 - the reason depends on the place
            load_torch_file(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer, run git lfs pull"),
     (b"garbage", "it is not a file of torch.save"), (b"", "it is not a file of torch.save")],
)  # fmt: skip
def test_other_files_are_an_error(tmp_path, content, found):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match=found):
        load_torch_file(tmp_path / "model.pt")
