"""A server's answer, read by a client that does not trust it: to this observation, and possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import (
    ActionError,
    FrameError,
    HistoryError,
    PromptError,
    ServerRefused,
    ServerSlow,
    WireError,
)
from spatialbot_policy.serving.greeting import Greeting
from spatialbot_policy.serving.link_faults import one_line
from spatialbot_policy.serving.messages import decode_chunk
from spatialbot_policy.serving.wire import WireLimits, unpack
from spatialbot_policy.types import ActionChunk, ActionStep

# What a policy may say of an observation, under the name that `LocalPolicy` would raise it by.
_POLICY_ERRORS = {error.__name__: error for error in (FrameError, HistoryError, PromptError, ActionError)}
_ROUNDING = 1e-6  # of a bound that travelled as float32


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        chunk: the actions.
        policy, server: durations in milliseconds by name, as the server measured them.
    """

    chunk: ActionChunk
    policy: Mapping[str, float]
    server: Mapping[str, float]


def read_reply(
    message: bytes | str, greeting: Greeting, stamp_ns: int, url: str, limits: WireLimits
) -> Reply:
    """Read what came back for the observation of a stamp.

    Raises:
        FrameError, HistoryError, PromptError: what the server says is wrong with the observation.
        ServerRefused, ServerSlow: what else it says.
        WireError: no answer, or one to another observation.
        ActionError: actions that are not finite or beyond the bounds.
    """
    if isinstance(message, str):
        raise _refusal(message, url)
    found = unpack(message, limits)
    if isinstance(found, dict) and not greeting.stamped:
        found = {**found, "stamp_ns": stamp_ns}
    chunk = decode_chunk(found)
    if chunk.observation_stamp_ns != stamp_ns:
        raise WireError(f"it is for stamp {chunk.observation_stamp_ns} ns, asked was {stamp_ns} ns")
    for step in chunk.steps:
        check_bounds(step, greeting.config)
    return Reply(chunk, _figures(found.get("policy_timing")), _figures(found.get("server_timing")))


def _refusal(text: str, url: str) -> Exception:
    """A server's words as the error that they name."""
    name, _, words = text.partition(": ")
    if name in _POLICY_ERRORS:
        return _POLICY_ERRORS[name](one_line(words))
    if name == "InferenceTimeoutError":
        return ServerSlow(f"{url}: {one_line(words)}")
    return ServerRefused(f"{url} refuses: {one_line(text)}")


def check_bounds(step: ActionStep, config: PolicyConfig) -> None:
    """Refuse an action that the policy's action space does not hold.

    Raises:
        ActionError: names the value and its bound.
    """
    space = config.action_space
    far, turn, closure = abs(step.translation_m).max(), abs(step.rotation_rad).max(), step.gripper_closure
    allowed = 1 + _ROUNDING
    if far > space.translation_bound_m * allowed or turn > space.rotation_bound_rad * allowed:
        raise ActionError(
            f"{step.as_vector()} goes beyond {space.translation_bound_m} m or {space.rotation_bound_rad} rad"
        )
    if not -_ROUNDING <= closure <= allowed:
        raise ActionError(f"a gripper closure of {closure} is outside 0..1")


def _figures(value: object) -> dict[str, float]:
    """The numbers of a timing map; what is none is left out, for it only informs."""
    if not isinstance(value, dict):
        return {}
    numbers = {
        str(key): number for key, number in value.items() if isinstance(number, (int, float, np.number))
    }
    return {key: float(number) for key, number in numbers.items() if np.isfinite(number)}
