#!/usr/bin/env bash
# Sets up, then runs the tests; arguments go to pytest. Where ROS 2 is installed, those of the graph run on it too.
. "$(dirname "$0")/env.sh"
scripts/setup.sh
.venv/bin/python -m pytest "$@"
[ "$#" -eq 0 ] || [ "$*" = "-m " ] || exit 0  # asked for some tests: those were they
exec scripts/test_on_ros.sh "$@"
