"""Running a checkpoint: an engine answers observations with actions, a chat questions with text.

In order: `settings` (device, precision, decoding), `preparation` (the network as it is run), `engine` (a
batch of observations: `session` remembers each robot's frames, `prefix` what the last prompt shares with the
next), `action_decoder` (seven action tokens, one after the other or all at once), `language_reader` (the
language model's layers on a memory that is kept: `decoder_layer`, `attention`, `kv_cache`), `local_policy`
(one session as a `Policy`). `chat` converses, with transformers' own `generate`.
"""

from spatialbot_policy.inference.action_decoder import ActionDecoder
from spatialbot_policy.inference.chat import Answer, Chat
from spatialbot_policy.inference.engine import Engine, StepAnswer
from spatialbot_policy.inference.local_policy import LocalPolicy
from spatialbot_policy.inference.session import Session
from spatialbot_policy.inference.settings import EngineSettings

__all__ = [
    "ActionDecoder",
    "Answer",
    "Chat",
    "Engine",
    "EngineSettings",
    "LocalPolicy",
    "Session",
    "StepAnswer",
]
