"""Scores of a group of runs, differences with confidence intervals, and plots; imports neither torch nor fairseq."""
