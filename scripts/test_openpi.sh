#!/usr/bin/env bash
# openpi's own client, in an environment of its own, against our server; arguments go to pytest.
. "$(dirname "$0")/env.sh"

readonly CLIENT="openpi-client==0.1.2"
readonly ENVIRONMENT=build/openpi-client
say() { printf 'openpi: %s\n' "$*"; }

if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] < (3, 13))'; then
  say "$CLIENT needs numpy below 2, which has no wheel for the Python of .venv: not run"
  exit 0
fi
if ! "$ENVIRONMENT/bin/python" -c 'import openpi_client.websocket_client_policy' 2>/dev/null; then
  say "installing $CLIENT"
  rm -rf "$ENVIRONMENT"
  .venv/bin/python -m venv "$ENVIRONMENT"
  "$ENVIRONMENT/bin/python" -m pip install --disable-pip-version-check --no-input --quiet "$CLIENT" \
    typing_extensions  # it imports them and does not say so
fi
export SPATIALBOT_OPENPI_PYTHON="$PWD/$ENVIRONMENT/bin/python"
exec .venv/bin/python -m pytest -m "" tests/openpi "$@"
