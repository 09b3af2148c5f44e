"""Benchmarks of speed and memory against alternatives. Each runs as `python -m benchmarks.NAME`."""
