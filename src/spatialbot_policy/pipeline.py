"""From observations to the model's inputs and from its bins to motion: one list of steps for all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spatialbot_policy import depth
from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import FrameError, HistoryError
from spatialbot_policy.images import ResizePad
from spatialbot_policy.prompt import PromptStyle, answer_lead, build_prompt
from spatialbot_policy.types import ActionStep, Observation, RgbdFrame, UInt8Array

FrameImages = tuple[RgbdFrame, UInt8Array | None]


@dataclass(frozen=True)
class ModelInputs:
    """What the model's processor takes.

    Attributes:
        prompt: text with a numbered placeholder for each image.
        images: (H, W, 3) uint8 each: newest frame first, in a frame by camera, colour before depth.
    """

    prompt: str
    images: tuple[UInt8Array, ...]


@dataclass(frozen=True)
class SelectCameras:
    """Observation -> its frames, in the order of the configuration."""

    names: tuple[str, ...]

    def __call__(self, observation: Observation) -> tuple[RgbdFrame, ...]:
        """Pick the frames; a missing one is an error, never a black image."""
        missing = [name for name in self.names if name not in observation.frames]
        if missing:
            raise FrameError(
                f"camera '{missing[0]}' is missing at stamp {observation.stamp_ns}; there are "
                f"{sorted(observation.frames) or 'none'}: start it, or map its topic to this name"
            )
        return tuple(observation.frames[name] for name in self.names)


@dataclass(frozen=True)
class CheckDepth:
    """Frames -> the same frames, if each has usable depth where the policy needs it."""

    required: bool

    def __call__(self, frames: tuple[RgbdFrame, ...]) -> tuple[RgbdFrame, ...]:
        """Refuse frames whose depth is absent or invalid everywhere."""
        for frame in frames if self.required else ():
            if frame.depth_mm is None:
                raise FrameError(
                    f"camera '{frame.camera}' gives no depth, and this policy needs it; enable depth "
                    "(realsense2_camera: enable_depth:=true) or load a colour-only checkpoint"
                )
            if not frame.depth_mm.any():
                raise FrameError(
                    f"camera '{frame.camera}': the depth at stamp {frame.stamp_ns} is all invalid (0); "
                    "check the projector, the distance and that nothing covers the camera"
                )
        return frames


@dataclass(frozen=True)
class EncodeDepth:
    """Frames -> frames with their three-channel depth images; the inverse reads millimetres back."""

    variant: DepthVariant | None

    def __call__(self, frames: tuple[RgbdFrame, ...]) -> tuple[FrameImages, ...]:
        """Encode each depth image at the camera's own size, before any resize."""
        return tuple((frame, self._encode(frame)) for frame in frames)

    def _encode(self, frame: RgbdFrame) -> UInt8Array | None:
        if self.variant is None or frame.depth_mm is None:
            return None
        try:
            return depth.encode(frame.depth_mm, self.variant)
        except FrameError as error:
            raise FrameError(f"camera '{frame.camera}': {error}") from error

    def inverse(self, image: UInt8Array) -> NDArray[np.uint32]:
        """Millimetres of one encoded depth image."""
        if self.variant is None:
            raise FrameError("this policy sees colour only; there is no depth image to read back")
        return depth.decode(image, self.variant)


@dataclass(frozen=True)
class ResizeImages:
    """Frames with depth images -> the model's images, each fitted to its camera's configured size."""

    cameras: tuple[CameraConfig, ...]

    def __call__(self, frames: tuple[FrameImages, ...]) -> tuple[UInt8Array, ...]:
        """Lay the images in a row: colour, then depth where there is one."""
        images: list[UInt8Array] = []
        for frame, depth_image in frames:
            resize = self._resize(frame.camera)
            images.append(resize(frame.color))
            if depth_image is not None:
                images.append(resize.nearest(depth_image))
        return tuple(images)

    def _resize(self, name: str) -> ResizePad:
        for camera in self.cameras:
            if camera.name == name:
                return ResizePad(camera.width, camera.height)
        raise FrameError(
            f"camera '{name}' is not in the policy's list {[camera.name for camera in self.cameras]}; "
            "rename the frame or leave it out"
        )


@dataclass(frozen=True)
class WritePrompt:
    """Instruction -> prompt with a placeholder for each image."""

    style: PromptStyle
    image_count: int

    def __call__(self, instruction: str) -> str:
        """Clean the instruction and write the prompt, up to where the action tokens begin."""
        return self.question(instruction) + answer_lead(self.style)

    def question(self, instruction: str) -> str:
        """The same without the words that lead to the action: what training gives, and is answered."""
        return build_prompt(instruction, self.image_count, self.style)


@dataclass(frozen=True)
class ActionBins:
    """Action -> bins, the target in training; the inverse turns the model's answer into motion."""

    space: ActionSpace

    def __call__(self, step: ActionStep) -> NDArray[np.int64]:
        """(dimensions,) bins of one action."""
        return self.space.to_bins(step)

    def inverse(self, bins: ArrayLike) -> ActionStep:
        """Action of (dimensions,) bins."""
        return self.space.from_bins(bins)


class Step(Protocol):
    """A frozen dataclass that turns the output of the step before it into its own."""

    def __call__(self, value: Any, /) -> Any:
        """Do this step."""


@dataclass(frozen=True)
class Pipeline:
    """All steps between an observation, the model and an action; built by `build_pipeline`.

    Attributes:
        config: what the steps were built from.
        select: observation -> frames.
        frame_steps: frames -> images, in order.
        write_prompt: instruction -> prompt.
        action_bins: action -> bins, and back.
    """

    config: PolicyConfig
    select: SelectCameras
    frame_steps: tuple[Step, ...]
    write_prompt: WritePrompt
    action_bins: ActionBins

    @property
    def steps(self) -> list[Step]:
        """Every step in the order of the data path."""
        return [self.select, *self.frame_steps, self.write_prompt, self.action_bins]

    @property
    def action_space(self) -> ActionSpace:
        """Bounds and bins of the policy's actions."""
        return self.action_bins.space

    def encode_frame(self, frame: RgbdFrame) -> tuple[UInt8Array, ...]:
        """Turn one camera's frame into the model's images: colour, and depth where the policy sees it.

        Raises:
            FrameError: missing or all-invalid depth, depth out of range, a camera the policy does not know.
        """
        return self._images((frame,))

    def encode_observation(self, observation: Observation) -> tuple[UInt8Array, ...]:
        """Turn one observation into the model's images, by camera in the order of the configuration.

        Raises:
            FrameError: as `encode_frame`, or a camera is missing.
        """
        return self._images(self.select(observation))

    def _images(self, frames: tuple[RgbdFrame, ...]) -> tuple[UInt8Array, ...]:
        value: Any = frames
        for step in self.frame_steps:
            value = step(value)
        images: tuple[UInt8Array, ...] = value
        return images

    def prompt(self, instruction: str) -> str:
        """Write the prompt for an instruction and a whole history of images, ready for action tokens."""
        return self.write_prompt(instruction)

    def question(self, instruction: str) -> str:
        """Write the prompt without the words that lead to the action, which training asks for."""
        return self.write_prompt.question(instruction)

    def __call__(self, history: Sequence[Observation]) -> ModelInputs:
        """Turn a history, newest first, into the model's inputs; the newest instruction counts.

        Raises:
            FrameError: a frame that must not reach the model.
            HistoryError: another length than the policy's, or stamps that rise from newest to oldest.
        """
        length = self.config.history_length
        if len(history) != length:
            raise HistoryError(f"the policy needs {length} frames, got {len(history)}; use History.push")
        stamps = [observation.stamp_ns for observation in history]
        if stamps != sorted(stamps, reverse=True):
            raise HistoryError(f"a history runs from newest to oldest, got stamps {stamps}; use History.push")
        encoded: dict[int, tuple[UInt8Array, ...]] = {}
        for observation in history:  # padding repeats an observation: encode it once
            if id(observation) not in encoded:
                encoded[id(observation)] = self.encode_observation(observation)
        images = tuple(image for observation in history for image in encoded[id(observation)])
        return ModelInputs(self.prompt(history[0].instruction), images)


def build_pipeline(config: PolicyConfig) -> Pipeline:
    """Build the one pipeline that training, serving, replay and simulation share."""
    with_depth = config.depth_variant is not None
    images_per_observation = len(config.cameras) * (2 if with_depth else 1)
    return Pipeline(
        config=config,
        select=SelectCameras(tuple(camera.name for camera in config.cameras)),
        frame_steps=(
            CheckDepth(required=with_depth),
            EncodeDepth(config.depth_variant),
            ResizeImages(config.cameras),
        ),
        write_prompt=WritePrompt(config.prompt, config.history_length * images_per_observation),
        action_bins=ActionBins(config.action_space),
    )
