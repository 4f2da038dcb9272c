#!/usr/bin/env bash
# Sets up, then runs every benchmarks/bench_*.py; names as arguments choose some of them.
. "$(dirname "$0")/env.sh"
scripts/setup.sh
exec .venv/bin/python -m benchmarks "$@"
