# Sourced by the other scripts: the repository root, offline models, and one thread for each renderer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export HF_HUB_OFFLINE=1
# Mesa's software renderer and OpenMP otherwise take every core in every worker.
export LP_NUM_THREADS="${LP_NUM_THREADS:-1}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
