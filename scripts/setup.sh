#!/usr/bin/env bash
# Makes .venv with everything the project needs; a second run with nothing changed ends at once.
#
# SPATIALBOT_TORCH_INDEX   package index for torch, e.g. https://download.pytorch.org/whl/cpu without a GPU
# SPATIALBOT_PYTHON        the Python to make .venv with
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TORCH="torch==2.13.0"
readonly STAMP=.venv/spatialbot-setup
readonly LOG=.venv/spatialbot-setup.log
# Of pip's output, the downloads of a megabyte and more, as they come.
readonly SHOW='s|^ *Downloading (.*/)?([^/ ]+) (\([0-9.]+ [MG]B\)).*|setup:   \2 \3|p'

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# The state that the environment depends on; the path too, since a moved .venv points to the old place.
fingerprint() {
  { pwd; echo "${SPATIALBOT_TORCH_INDEX:-}"; cat pyproject.toml setup.py package.xml scripts/setup*.sh; } | sha256sum
}

ready() { [ -x .venv/bin/spatialbot ] && [ -f "$STAMP" ] && [ "$(fingerprint)" = "$(cat "$STAMP")" ]; }

# Runs pip; its whole output goes to the log.
pip_install() {
  local command=(.venv/bin/python -m pip install --disable-pip-version-check --no-input "$@")
  printf '\n$ %s\n' "${command[*]}" >>"$LOG"
  if ! "${command[@]}" 2>&1 | tee -a "$LOG" | sed -u -En "$SHOW"; then
    grep -E '^(ERROR|error|  *error|.*[Nn]o space left)' "$LOG" | tail -n 5 >&2 || true
    fail "pip failed (whole log: $LOG); mend the cause, then start again or try: ${command[*]}"
  fi
}

make_environment() {
  if [ -e .venv ]; then
    .venv/bin/python -c '' 2>/dev/null || fail "the Python of .venv is gone; run: rm -rf .venv && make setup"
    .venv/bin/python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      || fail "Python 3.10 to 3.13 is needed, .venv has another; run: rm -rf .venv && make setup"
    say ".venv: present"
    return
  fi
  local python
  python=$(scripts/find_python.sh) || fail "no Python 3.10 to 3.13 with venv found (on Debian and Ubuntu:" \
    "sudo apt-get install -y python3 python3-venv); SPATIALBOT_PYTHON=/path/to/python names one elsewhere"
  say "making .venv with $("$python" --version)"
  "$python" -m venv .venv
}

install_torch() {
  say "installing $TORCH ${SPATIALBOT_TORCH_INDEX:+from $SPATIALBOT_TORCH_INDEX}"
  pip_install ${SPATIALBOT_TORCH_INDEX:+--index-url "$SPATIALBOT_TORCH_INDEX"} "$TORCH"
}

# ManiSkill requires mplib, which has no wheel for 3.13 and is not used here: install ManiSkill around it.
install_maniskill_without_mplib() {
  say "installing ManiSkill for Python 3.13"
  pip_install --no-deps "mani-skill==3.0.1"
  .venv/bin/python - >.venv/maniskill-requirements.txt <<'PYTHON'
from importlib.metadata import requires

print(*(line for line in requires("mani_skill") or [] if "extra ==" not in line and "mplib" not in line), sep="\n")
PYTHON
  pip_install -r .venv/maniskill-requirements.txt "opencv-python>=4.8,<5"
}

# SAPIEN pulls in opencv-python, whose files replace those of the headless build and need libGL.
restore_headless_opencv() {
  local version
  version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("opencv-python-headless"))')
  pip_install --force-reinstall --no-deps "opencv-python-headless==$version"
}

ready && { say "ready, nothing changed"; exit 0; }

# One set-up at a time: `make demo` and `make test` may be started side by side.
if command -v flock >/dev/null; then
  exec 9<"$0"
  flock 9
  ready && { say "ready, nothing changed"; exit 0; }
fi

scripts/setup_system.sh
make_environment
rm -f "$STAMP"
: >"$LOG"
install_torch
if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))'; then
  install_maniskill_without_mplib
fi
say "installing the project with its simulator, robot and development extras"
pip_install -e '.[sim,robot,dev]'
restore_headless_opencv
fingerprint >"$STAMP"
say "ready: .venv/bin/spatialbot doctor checks the machine"
