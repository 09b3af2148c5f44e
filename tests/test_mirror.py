"""Each module has a test file at its place in `tests/`, or a row in `TESTED_BY`.

`launcher/files.py` is tested by `tests/launcher/test_files.py`, `fairseq_kd/losses/hidden.py` by
`tests/losses/test_hidden.py`, and `fairseq_kd/__main__.py` by `tests/test_main.py`.
"""

from pathlib import Path

from tests.test_style import ROOT, tracked

# Pattern of modules -> the file that tests them.
TESTED_BY = {
    "fairseq_kd/context.py": "tests/test_start_up.py",
    "fairseq_kd/criterions/att_*.py": "tests/criterions/test_golden.py",
    "fairseq_kd/criterions/hidden_mse_*.py": "tests/criterions/test_golden.py",
    "fairseq_kd/criterions/kd.py": "tests/criterions/test_distillation.py",
    "fairseq_kd/criterions/minilm*.py": "tests/criterions/test_golden.py",
    "fairseq_kd/criterions/pearson.py": "tests/criterions/test_golden.py",
    "fairseq_kd/evaluation/cost.py": "tests/scripts/test_compare.py",
    "fairseq_kd/evaluation/importance.py": "tests/scripts/test_score_importance.py",
    "fairseq_kd/evaluation/onnx_scores.py": "tests/convert/test_onnx.py",
    "fairseq_kd/evaluation/text_model.py": "tests/scripts/test_predict_text.py",
    # Conversion.
    "fairseq_kd/convert/hf_folder.py": "tests/scripts/test_convert_hf.py",
    "fairseq_kd/convert/stock.py": "tests/scripts/test_export_fairseq.py",
    # Benchmarks, documents, preprocessing and scripts.
    **{
        f"benchmarks/{part}.py": "tests/benchmarks/test_step.py"
        for part in "ours peers plain_losses preprocess products record synthetic variant_process".split()
    },
    "docs/*.py": "tests/docs/test_site.py",
    "experiments.py": "tests/launcher/test_experiments.py",
    "preprocess/binarize_options.py": "tests/preprocess/test_glue.py",
    "preprocess/errors.py": "tests/preprocess/test_tables.py",
    "preprocess/worker_processes.py": "tests/scripts/test_cache_teacher.py",
    "scripts/options.py": "tests/scripts/test_predict.py",
}


def modules() -> list[Path]:
    """Return the Python files of the project outside `tests/`, relative to its root."""
    paths = [path.relative_to(ROOT) for path in tracked() if path.suffix == ".py"]
    return [path for path in paths if path.parts[0] != "tests" and path.name != "__init__.py"]


def has_own_test(module: Path) -> bool:
    folders = module.parts[:-1]
    if folders[:1] == ("fairseq_kd",):
        folders = folders[1:]
    return ROOT.joinpath("tests", *folders, f"test_{module.stem.strip('_')}.py").is_file()


def test_each_module_has_a_test_file_at_its_place_or_one_row():
    tests = {str(module): sum(map(module.match, TESTED_BY)) + has_own_test(module) for module in modules()}
    assert {name: count for name, count in tests.items() if count != 1} == {}


def test_each_row_matches_a_module_and_names_an_existing_file():
    found = modules()
    assert [row for row in TESTED_BY if not any(module.match(row) for module in found)] == []
    assert [row for row, test in TESTED_BY.items() if not (ROOT / test).is_file()] == []
