"""The parts of `experiments.py`: a grid of runs, trained one by one or side by side, and their table.

Standard library alone, outside the plugin: importing `fairseq_kd` loads torch and fairseq, and a
plan should be printed at once.
"""
