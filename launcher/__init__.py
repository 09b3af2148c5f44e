"""Plans and runs the grids of `experiments.py`: planning -> results -> execution, and reports on finished runs.

Imports neither torch nor fairseq, so that a plan is printed at once.
"""
