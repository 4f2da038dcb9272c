#!/usr/bin/env bash
# Sets up, then checks style, formatting and types; `--fix` mends what ruff can mend first.
. "$(dirname "$0")/env.sh"
scripts/setup.sh

if [ "${1:-}" = --fix ]; then
  .venv/bin/ruff check --fix-only --quiet .
  .venv/bin/ruff format --quiet .
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet --diff .

# mypy knows a package by its folder's name: give the two renamed ones a link with their import name.
links=build/import-names
mkdir -p "$links"
ln -sfn ../../training "$links/spatialbot_training"
ln -sfn ../../sim "$links/spatialbot_sim"
.venv/bin/mypy src/spatialbot_policy src/spatialbot_ros src/spatialbot_cli "$links/spatialbot_training" "$links/spatialbot_sim"
