"""Models of other libraries, as checkpoints this package reads."""
