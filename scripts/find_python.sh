#!/usr/bin/env bash
# Prints the first Python from 3.10 to 3.13 that can make virtual environments; fails when there is none.
#
# SPATIALBOT_PYTHON names one to be used instead. 3.13 comes last: ManiSkill's motion planner has no wheel for it.
set -euo pipefail

readonly CHECK='import ensurepip, venv, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'

for python in ${SPATIALBOT_PYTHON:-python3.12 python3.11 python3.10 python3 python3.13}; do
  if command -v "$python" >/dev/null && "$python" -c "$CHECK" >/dev/null 2>&1; then
    "$python" -c 'import sys; print(sys.executable)'
    exit 0
  fi
done
exit 1
