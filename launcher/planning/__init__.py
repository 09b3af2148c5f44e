"""Plans runs: what identifies a run, the runs of a grid, and the data and teachers that the runs need."""
