"""Reads logs and results of runs, shows progress, and makes the table of a grid."""
