"""An episode's end in words."""

from __future__ import annotations

from spatialbot_sim.evaluation.log import Entry


def outcome(entry: Entry) -> str:
    """An episode's end in a few words."""
    if entry.result is None:
        return "error: " + entry.error.strip().splitlines()[-1]
    if entry.result.success:
        return f"success in {entry.result.steps} steps"
    return f"failed after {entry.result.steps} steps: {entry.result.failure.replace('_', ' ')}"
