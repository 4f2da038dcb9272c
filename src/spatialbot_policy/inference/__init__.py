"""Running a checkpoint: `local_policy` answers observations with actions, `chat` questions with text."""

from spatialbot_policy.inference.chat import Answer, Chat
from spatialbot_policy.inference.local_policy import LocalPolicy

__all__ = ["Answer", "Chat", "LocalPolicy"]
