#!/usr/bin/env bash
# Runs tests/ros on a real ROS 2, where /opt/ros has one that .venv's Python can import; arguments go to pytest.
. "$(dirname "$0")/env.sh"

say() { printf 'ros: %s\n' "$*"; }

setup=$(find /opt/ros -mindepth 2 -maxdepth 2 -name setup.bash 2>/dev/null | sort | tail -n 1)
if [ -z "$setup" ]; then
  say "no ROS 2 under /opt/ros: the tests of the graph ran on the embedded one alone"
  exit 0
fi
set +u  # ROS's own scripts read variables that may be unset
. "$setup"
set -u
if ! .venv/bin/python -c 'import rclpy' 2>/dev/null; then
  say "$(dirname "$setup") is for another Python than .venv's: make .venv with SPATIALBOT_PYTHON=/usr/bin/python3"
  exit 1
fi
# Away from robots on the same network, and from another run of these tests.
export ROS_DOMAIN_ID="${SPATIALBOT_TEST_DOMAIN_ID:-$((RANDOM % 100 + 1))}"
say "tests/ros on $(dirname "$setup")"
# ROS brings pytest plugins of its own for other versions of pytest.
PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 exec .venv/bin/python -m pytest -p _hypothesis_pytestplugin tests/ros "$@"
