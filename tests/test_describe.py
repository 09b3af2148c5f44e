"""The description has every flag of every criterion, as fairseq-train takes it."""

from dataclasses import fields

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

from fairseq_kd.criterions.distillation import DistillationCriterion
from fairseq_kd.describe import describe

CRITERIONS = describe()["criterions"]  # here, because tests register more


def test_flags_are_those_of_the_configs():
    for name, described in CRITERIONS.items():
        config = CRITERION_DATACLASS_REGISTRY[name]
        expected = {
            "--" + field.name.replace("_", "-"): field.default
            for field in fields(config)
            if field.name != "_name" and not str(field.default).startswith("${")
        }
        assert described["flags"].keys() == expected.keys(), name
        for flag, default in expected.items():
            if flag != "--first-weights":  # made by a factory
                assert str(described["flags"][flag]["default"]) == str(default), (name, flag)


@pytest.mark.parametrize(
    ("criterion", "flag", "expected"),
    [
        ("hsk", "--hsk-teacher-alone", {"type": "bool", "default": False, "choices": None}),
        ("kd", "--temperature", {"type": "float", "default": 2.0, "choices": None}),
        ("kd", "--first-weights", {"type": "list", "default": "", "choices": None}),
        ("lad", "--lad-partial", {"type": "int", "default": None, "choices": None}),
        ("pkd", "--pkd-kl", {"type": "str", "default": "sum", "choices": ["sum", "mean"]}),
        ("minilm", "--mapping", {"type": "str", "default": "last", "choices": None}),
    ],
)
def test_a_flag_has_type_default_and_choices(criterion, flag, expected):
    assert CRITERIONS[criterion]["flags"][flag] == expected


def test_attributes_are_those_of_the_classes():
    def having(attribute: str) -> set[str]:
        return {name for name, described in CRITERIONS.items() if described[attribute]}

    assert CRITERIONS.keys() - having("needs_teacher") == {"sda"}
    assert CRITERIONS.keys() - having("first_stage") == {"kd", "sda"}
    assert having("needs_classes") == {"crd"}
    assert having("mixes_states") == {"hidden_mse_learn", "hidden_mse_token"}
    assert {name for name, each in CRITERIONS.items() if "--mapping" not in each["flags"]} == {
        *("kd", "sda", "crd", "alp_kd")
    }
    assert DistillationCriterion.needs_teacher
    assert DistillationCriterion.first_stage
    assert not DistillationCriterion.mixes_states


def test_checkpoints_have_layers_or_a_problem(teacher, tmp_path):
    (tmp_path / "damaged.pt").write_bytes(b"no checkpoint")
    found = describe([str(teacher), str(tmp_path / "damaged.pt")])["checkpoints"]
    assert found[str(teacher)] == {"layers": 4, "positions": 40}
    assert found[str(tmp_path / "damaged.pt")]["problem"].startswith(f"the model {tmp_path / 'damaged.pt'} ")
