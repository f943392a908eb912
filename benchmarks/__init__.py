"""Speed and memory, measured by hand and never by a test; see docs/benchmarks.md."""
