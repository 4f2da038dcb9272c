#!/usr/bin/env bash
# Sets up, then rolls out the shipped policy; arguments go to `spatialbot demo`.
. "$(dirname "$0")/env.sh"
scripts/setup.sh
exec .venv/bin/spatialbot demo "$@"
