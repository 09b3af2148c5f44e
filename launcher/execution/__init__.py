"""Runs jobs: commands, processes, devices, and the training of one run or of a whole grid."""
