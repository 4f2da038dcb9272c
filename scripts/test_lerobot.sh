#!/usr/bin/env bash
# The `lerobot` library, in an environment of its own, loads and trains on what we export; arguments go to pytest.
. "$(dirname "$0")/env.sh"

# Without dependencies: lerobot asks for an older torch and for gigabytes that its data sets do not need. torch,
# datasets and the rest come from .venv; torchvision and av are of the versions that lerobot reads video with.
readonly LEROBOT="lerobot==0.4.4"
readonly OTHERS=("torchvision==0.25.0" "av>=15,<16")
readonly MORE=("datasets>=4,<6" "pandas>=2,<4")  # with what they need; usually in .venv already
readonly ENVIRONMENT=build/lerobot
say() { printf 'lerobot: %s\n' "$*"; }
pip_install() {
  "$ENVIRONMENT/bin/python" -m pip install --disable-pip-version-check --no-input --quiet "$@"
}

if [ ! -f "$ENVIRONMENT/complete" ]; then
  say "installing $LEROBOT"
  rm -rf "$ENVIRONMENT"
  .venv/bin/python -m venv "$ENVIRONMENT"
  packages="$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' >"$packages/outer.pth"
  pip_install --no-deps "$LEROBOT" "${OTHERS[@]}"
  pip_install "${MORE[@]}"
  touch "$ENVIRONMENT/complete"
fi
export SPATIALBOT_LEROBOT_PYTHON="$PWD/$ENVIRONMENT/bin/python"
exec .venv/bin/python -m pytest -m "" tests/lerobot "$@"
