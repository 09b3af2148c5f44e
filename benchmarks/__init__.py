"""Speed and memory, side by side with peers; every one runs as `python -m benchmarks.NAME`."""
