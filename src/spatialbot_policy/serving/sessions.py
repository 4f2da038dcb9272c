"""One client's conversation with the policy: its history, its stamps, and what becomes of its messages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.serving.host import PolicyHost, stage_times
from spatialbot_policy.serving.key_maps import PolicyKeys
from spatialbot_policy.serving.messages import (
    check_reset,
    checked_keys,
    decode_observation,
    encode_chunk,
    read_stamp,
)
from spatialbot_policy.types import ActionChunk, Observation, Policy


@dataclass(frozen=True)
class Reply:
    """An answer on its way back.

    Attributes:
        actions: what `messages.encode_chunk` wrote.
        timing: milliseconds by stage, `infer_ms` of the whole policy among them.
    """

    actions: Mapping[str, object]
    timing: Mapping[str, float]


class Session:
    """The policy of one client; `answer` runs in the worker's thread, everything else in the server's.

    A client without stamps, as openpi's are, gets them by counting: one step of the policy's rate for each
    observation that is answered. For such a client the first observation and another prompt begin an episode.

    Args:
        host: gives the policy.
        keys: of the client's messages.
    """

    def __init__(self, host: PolicyHost, keys: PolicyKeys) -> None:
        self._host, self._keys = host, keys
        self._policy: Policy | None = None
        self._period_ns = max(1, round(1e9 / host.config.rate_hz))
        self._next_stamp_ns = 0
        self._counted_prompt: str | None = None
        self._newest_episode = self._episode = 0

    def episode_of(self, message: object) -> int:
        """Number of the episode that a message belongs to; called once for each, as it comes.

        A number and not a flag: so a new episode begins even if the message that said so is never answered.
        """
        flag = message.get(self._keys.map.reset) if isinstance(message, dict) else None
        self._newest_episode += isinstance(flag, (bool, np.bool_)) and bool(flag)
        return self._newest_episode

    def answer(self, message: object, episode: int) -> Reply:
        """Read an observation of a numbered episode and act on it.

        Raises:
            SpatialBotError: of the kinds in `refusals.REFUSALS`: the observation cannot be answered.
        """
        if self._policy is None:
            self._policy = self._host.new_policy()
        found = checked_keys(message, self._keys)
        check_reset(found, self._keys)
        stamped = read_stamp(found, self._keys.map.stamp_ns) is not None
        observation = decode_observation(found, self._host.config, self._keys, self._next_stamp_ns)
        prompt = None if stamped else observation.instruction
        if episode != self._episode or (not stamped and prompt != self._counted_prompt):
            self._policy.reset()
        self._episode, self._counted_prompt = episode, prompt
        began = time.perf_counter()
        chunk = _checked(self._policy.act(observation), observation)
        infer_ms = (time.perf_counter() - began) * 1e3
        if not stamped:
            self._next_stamp_ns += self._period_ns
        return Reply(encode_chunk(chunk), {"infer_ms": infer_ms, **stage_times(self._policy)})


def _checked(chunk: Any, observation: Observation) -> ActionChunk:
    """Refuse what is no answer to this observation: types are not enforced on foreign code."""
    if not isinstance(chunk, ActionChunk) or not chunk.steps:
        raise TypeError(f"the policy answered with {chunk!r}; it must give an ActionChunk with a step")
    if chunk.observation_stamp_ns != observation.stamp_ns:
        raise RuntimeError(
            f"the policy answered stamp {chunk.observation_stamp_ns} ns when asked about "
            f"{observation.stamp_ns} ns"
        )
    return chunk
