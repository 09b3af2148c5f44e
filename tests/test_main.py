"""`python -m fairseq_kd --version` names what a bug report needs."""

from importlib import metadata

import pytest

from fairseq_kd.__main__ import main
from tests.tiny import ROOT


def test_version_lists_packages_and_the_plugin_folder(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["fairseq_kd", metadata.version("fairseq-kd")]
    assert ["fairseq", "0.12.2"] in lines
    assert ["torch", metadata.version("torch")] in lines
    assert lines[-1] == ["--user-dir", str(ROOT / "fairseq_kd")]
