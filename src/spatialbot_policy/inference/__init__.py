"""Running a checkpoint: `local_policy` answers observations in this process, one action a step."""

from spatialbot_policy.inference.local_policy import LocalPolicy

__all__ = ["LocalPolicy"]
