"""Lets an unmodified fairseq 0.12.2 run on Python >= 3.11, torch >= 2.6 and hydra >= 1.3.

`fairseq_compat.pth`, installed next to this package, imports `fairseq_compat.activate` when Python starts. Nothing
later is early enough, because the console scripts import fairseq before they read `--user-dir`.
"""
