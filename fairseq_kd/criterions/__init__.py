"""Criterions: one file per method. Importing registers all of them under their `--criterion` names."""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
