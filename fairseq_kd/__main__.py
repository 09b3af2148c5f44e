"""Command line of the package: `python -m fairseq_kd --version`."""

import argparse
import platform
from importlib import metadata
from pathlib import Path

# Packages whose versions can change the results of a run.
PACKAGES = ("fairseq", "torch", "numpy", "hydra-core", "omegaconf", "tokenizers")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line; print the versions, or the help text."""
    parser = argparse.ArgumentParser(
        prog="python -m fairseq_kd",
        description="Knowledge distillation of RoBERTa and BERT encoders, as a fairseq plugin.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=version_text(),
        help="print the versions of the plugin, Python and its packages, and the folder for --user-dir",
    )
    parser.parse_args(arguments)
    parser.print_help()


def version_text() -> str:
    """Return one line per package, then the plugin's folder; a package that is not installed is `missing`."""
    packages = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}
    lines = [f"fairseq_kd {_version('fairseq-kd')}"]
    lines += [f"  {name:<12}{version}" for name, version in packages.items()]
    lines += [f"  {'--user-dir':<12}{Path(__file__).resolve().parent}"]
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    main()
