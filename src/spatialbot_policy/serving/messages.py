"""Observations and actions <-> the maps that travel: keys, types and units of every value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import FrameError, RequestError, WireError
from spatialbot_policy.serving.image_codec import ImageArray, decode_image
from spatialbot_policy.serving.key_maps import NATIVE, CameraKeys, PolicyKeys
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, RgbdFrame

_MAX_STAMP_NS = 2**63 - 1


class FrameCodec(Protocol):
    """How frames travel; `image_codec.WireImages` is one."""

    def frame(self, frame: RgbdFrame) -> RgbdFrame:
        """The frame that is sent instead of this one, such as a smaller one."""

    def image(self, image: ImageArray) -> ImageArray | dict[str, object]:
        """An image as it stands in the message."""


def encode_observation(
    observation: Observation,
    config: PolicyConfig,
    codec: FrameCodec,
    reset: bool = False,
    keys: PolicyKeys | None = None,
) -> dict[str, object]:
    """Write an observation, under our own keys unless others are given.

    Args:
        observation: its frames of cameras that the policy does not know are left out.
        config: of the policy that will answer.
        codec: how the images travel.
        reset: whether a new episode begins with it.
        keys: of the server; what has no key there is not sent.

    Raises:
        FrameError: a camera of the policy is missing.
    """
    keys = NATIVE.of_policy(config) if keys is None else keys
    message: dict[str, object] = {keys.map.prompt: observation.instruction}
    if keys.map.stamp_ns:
        message[keys.map.stamp_ns] = int(observation.stamp_ns)
    if reset and keys.map.reset:
        message[keys.map.reset] = True
    for name, camera in keys.cameras.items():
        if name not in observation.frames:
            raise FrameError(
                f"camera '{name}' is missing at stamp {observation.stamp_ns}; there are "
                f"{sorted(observation.frames) or 'none'}: start it, or map its topic to this name"
            )
        frame = codec.frame(observation.frames[name])
        message[camera.color] = codec.image(frame.color)
        if frame.depth_mm is not None and config.depth_variant is not None:
            message[camera.depth_mm] = codec.image(frame.depth_mm)
        if camera.stamp_ns and frame.stamp_ns != observation.stamp_ns:
            message[camera.stamp_ns] = int(frame.stamp_ns)
    return message


def decode_observation(
    message: object, config: PolicyConfig, keys: PolicyKeys, stamp_ns: int | None = None
) -> Observation:
    """Read an observation.

    Args:
        message: what `wire.unpack` gave.
        config: of the policy that will see it.
        keys: which value stands where.
        stamp_ns: stamp of an observation that brings none.

    Raises:
        RequestError: no map, an unknown or missing key, or a value of another type.
        FrameError: an image of another type or shape.
        WireError: an encoded image that is damaged.
    """
    found = checked_keys(message, keys)
    prompt = _required(found, keys.map.prompt, "send the task in words")
    if not isinstance(prompt, str):
        raise RequestError(f"'{keys.map.prompt}' must be text, got {_described(prompt)}")
    stamp = read_stamp(found, keys.map.stamp_ns)
    stamp = stamp_ns if stamp is None else stamp
    if stamp is None:
        raise RequestError(f"key '{keys.map.stamp_ns}' is missing; send the stamp in nanoseconds")
    frames = {
        name: _read_frame(found, name, camera, stamp, with_depth=config.depth_variant is not None)
        for name, camera in keys.cameras.items()
    }
    return Observation(stamp, prompt, frames)


def checked_keys(message: object, keys: PolicyKeys) -> Mapping[str, Any]:
    """The message, if it is a map in which every key means something.

    Raises:
        RequestError: no map, or it names the first unknown key.
    """
    if not isinstance(message, dict):
        raise RequestError(f"an observation must be a map, got {_described(message)}")
    for key in message:
        if key not in keys.accepted:
            close = difflib.get_close_matches(str(key)[:200], keys.known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise RequestError(f"unknown key {str(key)[:200]!r}; known are {', '.join(keys.known)}{hint}")
    return message


def check_reset(message: Mapping[str, Any], keys: PolicyKeys) -> None:
    """Look at the flag that begins a new episode.

    Raises:
        RequestError: it is there, and not true or false.
    """
    flag = message.get(keys.map.reset, False) if keys.map.reset else False
    if not isinstance(flag, (bool, np.bool_)):
        raise RequestError(f"'{keys.map.reset}' must be true or false, got {_described(flag)}")


def read_stamp(message: Mapping[str, Any], key: str) -> int | None:
    """Nanoseconds under a key; None when it is not there.

    Raises:
        RequestError: not a whole number of nanoseconds.
    """
    value = message.get(key) if key else None
    if value is None:
        return None
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or not 0 <= value <= _MAX_STAMP_NS:
        raise RequestError(f"'{key}' must be whole nanoseconds from 0, got {_described(value)}")
    return int(value)


def _read_frame(
    found: Mapping[str, Any], name: str, keys: CameraKeys, stamp_ns: int, with_depth: bool
) -> RgbdFrame:
    color = decode_image(_required(found, keys.color, f"send camera '{name}'"), f"'{keys.color}'")
    depth = None
    if with_depth:
        value = _required(found, keys.depth_mm, f"this policy needs the depth of camera '{name}'")
        depth = decode_image(value, f"'{keys.depth_mm}'")
    own = read_stamp(found, keys.stamp_ns)
    # The frame itself refuses other types and shapes.
    return RgbdFrame(name, stamp_ns if own is None else own, color, depth)  # type: ignore[arg-type]


def _required(found: Mapping[str, Any], key: str, mend: str) -> Any:
    if key not in found:
        raise RequestError(f"key '{key}' is missing; {mend}")
    return found[key]


def _described(value: object) -> str:
    """A stranger's value, without repeating all of it."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {value.dtype}"
    if isinstance(value, (bool, int, float, np.generic)):
        return f"{value!r:.40}"
    return f"a {type(value).__name__}"


def encode_chunk(chunk: ActionChunk) -> dict[str, object]:
    """Write an answer: `actions` (horizon, 7) float64, `terminate` (horizon,) bool, `stamp_ns`."""
    return {
        "actions": np.stack([step.as_vector() for step in chunk.steps]).astype(np.float64),
        "terminate": np.array([step.terminate for step in chunk.steps], dtype=np.bool_),
        "stamp_ns": int(chunk.observation_stamp_ns),
    }


def decode_chunk(message: object) -> ActionChunk:
    """Read an answer: the inverse of `encode_chunk`; a server that sends no `terminate` never sets it.

    Raises:
        WireError: no answer, or values of another type or shape.
        ActionError: an action that is not finite.
    """
    if not isinstance(message, dict):
        raise WireError(f"an answer must be a map, got {_described(message)}")
    actions = message.get("actions")
    if not isinstance(actions, np.ndarray) or actions.dtype.kind != "f" or actions.ndim != 2:
        raise WireError(f"'actions' must be an array (horizon, 7) of floats, got {_described(actions)}")
    horizon = len(actions)
    if horizon < 1 or actions.shape[1] != 7:
        raise WireError(
            f"'actions' must be (horizon, 7), got {actions.shape}; is this another robot's server?"
        )
    terminate = message.get("terminate", np.zeros(horizon, dtype=np.bool_))
    if not isinstance(terminate, np.ndarray) or terminate.dtype != np.bool_ or terminate.shape != (horizon,):
        raise WireError(f"'terminate' must be an array ({horizon},) of bool, got {_described(terminate)}")
    stamp = message.get("stamp_ns")
    if type(stamp) is not int:
        raise WireError(f"'stamp_ns' must be the observation's stamp, got {_described(stamp)}")
    vectors = actions.astype(np.float64)
    steps = (
        ActionStep(vector[:3], vector[3:6], float(vector[6]), bool(done))
        for vector, done in zip(vectors, terminate, strict=True)
    )
    return ActionChunk(stamp, tuple(steps))
