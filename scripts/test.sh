#!/usr/bin/env bash
# Sets up, then runs the tests; arguments go to pytest.
. "$(dirname "$0")/env.sh"
scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
