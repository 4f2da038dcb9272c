#!/usr/bin/env bash
# Sets up, then runs the tests; arguments go to pytest. With all tests, openpi's own client drives our server and
# lerobot loads our exports, too; where ROS 2 is installed, the tests of the graph run on it.
. "$(dirname "$0")/env.sh"
scripts/setup.sh
.venv/bin/python -m pytest "$@"
[ "$#" -eq 0 ] || [ "$*" = "-m " ] || exit 0  # asked for some tests: those were they
[ "$#" -eq 0 ] || { scripts/test_openpi.sh && scripts/test_lerobot.sh; }
exec scripts/test_on_ros.sh "$@"
