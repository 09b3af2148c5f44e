import json
from dataclasses import dataclass, replace

import pytest

import experiments
from launcher.planning.run_spec import RunSpec

# Names of runs in existing run directories. A change would train all of them again.
NAMES = {
    "--method none,kd --seeds 1": ["none-0_1_2-one-seed1-1497c39d", "kd-0_1_2-one-seed1-03d31de0"],
    "--method hidden_mse_learn --seeds 1 -- --autocast bf16": [
        "hidden_mse_learn-0_1_2-skip-first-seed1-767918c6", "hidden_mse_learn-0_1_2-skip-second-seed1-49cb2b08",
    ],
    "--method att_kl_learn --seeds 1 --stage2-from last --stage1-epochs 5 --mapping 0:0,1:4": [
        "att_kl_learn-0_1_2-0.0_1.4-first-seed1-4515a6cd", "att_kl_learn-0_1_2-0.0_1.4-second-seed1-07d9d905",
    ],
    "--method minilm --init 0,1,2 --init random --stage one --seeds 1": [
        "minilm-0_1_2-last-one-seed1-79cb4866", "minilm-random.3-last-one-seed1-01a9be46",
    ],
    "--method none,kd,hsk --stage one,two --seeds 1 -- --clip-norm 1.0 --hsk-keep 1l_10t_0.1h --bf16 --temperature 4": [
        "none-0_1_2-one-seed1-dbdd4fa4", "kd-0_1_2-one-seed1-8b171e68", "hsk-0_1_2-skip-one-seed1-b3ddf77d",
        "hsk-0_1_2-skip-first-seed1-c05a0f5d", "hsk-0_1_2-skip-second-seed1-a13bf076",
    ],
    "--method kd --seeds 1 -- optimization.clip_norm=1.0 common.bf16=true optimizer.adam_betas='(0.9, 0.98)' "
    "optimization.update_freq=[2,1]": ["kd-0_1_2-one-seed1-bc9482ce"],
    "--method kd --seeds 1 --lr 3e-5 --batch-size 8 -- --update-freq 4 --required-batch-size-multiple 1": [
        "kd-0_1_2-one-seed1-c1ee5023",
    ],
    "--grid FILE --seeds 1 -- --weight-decay 0.01 --no-decay-norm-and-bias": [
        "lad-0_1_2-skip-first-seed1-fe7ff122", "lad-0_1_2-skip-second-seed1-5ec0ae34",
        "alp_kd-0_1_2-first-seed1-c8daa4d5", "alp_kd-0_1_2-second-seed1-8891a14d",
    ],
    "-e finetune --models mine=MODEL cut=MODEL@1,3,5 un=MODEL@random:3 --lr 1e-5 --batch-size 16 --seeds 1": [
        "none-mine-one-seed1-d3d8ac90", "none-cut-one-seed1-0e1a45cc", "none-un-one-seed1-a8340f01",
    ],
    "-e pred --models mine=MODEL@0,1 --seeds 1 -- --temperature 2": ["kd-mine-second-seed1-6916ec35"],
    "-e pred --pass_dic DICT --mapping skip -m minilm": [
        "kd-minilm-skip-second-seed1-f1aae3e4", "kd-minilm-skip-second-seed2-2fe91162",
    ],
    "--method kd --seeds 1 --teacher none/{task} --pretrained MODEL2 --teacher-epochs 3 --teacher-lr 4e-5": [
        "none-all-one-seed1-0c4784ee", "kd-0_1_2-one-seed1-2f139e38",
    ],
}  # fmt: skip

FILE = """
method: [lad, alp_kd]
flags:
  init-from: models/bert-base
  weight-decay: 0.1
  no-decay-norm-and-bias: true
  adam-betas: (0.9, 0.999)
  task.autocast: bf16
  gate-lr: 5e-7
  bf16: false
"""


@pytest.mark.parametrize("words", NAMES)
def test_names_of_runs_are_those_of_earlier_versions(call, tmp_path, words, capsys):
    texts = {"FILE": FILE, "MODEL": "MODEL", "MODEL2": "pre-trained", "a": "a", "b": "b"}
    texts["DICT"] = json.dumps({"minilm": [str(tmp_path / "a"), str(tmp_path / "b")]})
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    given = words.split() if "'" not in words else words.replace("(0.9, ", "(0.9,_").split()
    given = [word.replace(",_", ", ") for word in given]
    for name in ("FILE", "DICT", "MODEL2", "MODEL"):
        given = [
            word.replace(name, str(tmp_path / name)) if str(tmp_path) not in word else word for word in given
        ]
    assert experiments.main([*call, "--dry-run", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("# MRPC-") for line in lines if line.startswith("# MRPC-")] == NAMES[words]


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"lr": 2e-5}, {"teacher": "other"}, {"overrides": {"--bf16": True}}, {"after": "x"}, {"warmup": 0}],
    ids=str,
)  # fmt: skip
def test_each_setting_that_decides_the_result_decides_the_name(spec, change):
    assert replace(spec, **change).name != spec.name


def test_a_field_added_later_renames_no_old_run(spec):
    @dataclass(frozen=True)
    class Later(RunSpec):
        cache: str = ""

    values = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    assert Later(**values).name == spec.name
    assert Later(**values, cache="disk").name != spec.name


def test_a_spec_is_read_from_its_file_also_from_an_older_one(spec):
    planned = replace(spec, overrides={"--clip-norm": "1.0", "--bf16": True})
    contents = json.loads(json.dumps(planned.to_json()))
    assert contents["flags"] == ["--clip-norm", "1.0", "--bf16"]
    assert RunSpec.from_json(contents) == planned
    older = {key: value for key, value in contents.items() if key not in ("flags", "layers")}
    assert RunSpec.from_json(older) == spec
