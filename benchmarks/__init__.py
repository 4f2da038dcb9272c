"""Benchmarks: each bench_*.py is a program whose last line of output is one JSON object of figures."""
