"""Frames of several cameras and the robot's state, joined by stamp into one observation."""

from __future__ import annotations

from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.types import Observation, RgbdFrame, RobotState
from spatialbot_ros.logic.stamped_buffer import StampedBuffer, partner_ns

STATE = "robot state"


class ObservationBuilder:
    """Waits until every camera, and the state if one is asked for, has a value near the first camera's frame.

    The observation carries the stamp of the first camera's frame. Another camera's frame is the nearest to
    it, by the rule of `partner_ns`; each is used once. The state is the nearest of those that have come, and
    may serve several observations.

    Args:
        cameras: names in the order of the policy's configuration; with or without depth.
        tolerance_ns: largest distance of another camera's frame from the first camera's.
        state_tolerance_ns: largest distance of the robot's state; None builds observations without a state.
        capacity: frames kept of each camera.
        state_capacity: states kept: enough to reach back over a frame's latency at the robot's rate.

    Attributes:
        built: observations given out.
        dropped: frames that were forgotten unused.
        duplicates: frames whose stamp had come before.
        late: frames older than one already used.

    Raises:
        ConfigError: no camera, a camera twice, a negative tolerance or a capacity below 1.
    """

    def __init__(
        self,
        cameras: tuple[str, ...],
        tolerance_ns: int,
        state_tolerance_ns: int | None = None,
        *,
        capacity: int = 8,
        state_capacity: int = 512,
    ) -> None:
        if not cameras or len(set(cameras)) != len(cameras):
            raise ConfigError(f"an observation needs one or more different cameras, got {list(cameras)}")
        if tolerance_ns < 0 or (state_tolerance_ns is not None and state_tolerance_ns < 0):
            raise ConfigError(
                f"tolerances must not be negative, got {tolerance_ns} and {state_tolerance_ns} ns"
            )
        self._cameras = cameras
        self._tolerance_ns = tolerance_ns
        self._state_tolerance_ns = state_tolerance_ns
        self._frames = {camera: StampedBuffer[RgbdFrame](capacity) for camera in cameras}
        self._states: StampedBuffer[RobotState] = StampedBuffer(state_capacity)
        self._used_ns: dict[str, int] = {}
        self.built = self.dropped = self.duplicates = self.late = 0

    def push_frame(self, frame: RgbdFrame, instruction: str) -> Observation | None:
        """Add a frame; return the next observation if one is complete, with this instruction.

        Raises:
            FrameError: the frame's camera is not one of the policy's.
        """
        if frame.camera not in self._frames:
            raise FrameError(
                f"camera '{frame.camera}' is not one of the policy's: {', '.join(self._cameras)}"
            )
        stream = self._frames[frame.camera]
        used_ns = self._used_ns.get(frame.camera)
        if stream.saw(frame.stamp_ns):
            self.duplicates += 1
        elif used_ns is not None and frame.stamp_ns <= used_ns:
            self.late += 1
        else:
            self.dropped += stream.add(frame.stamp_ns, frame)
        return self._next_observation(instruction)

    def push_state(self, state: RobotState, instruction: str) -> Observation | None:
        """Add a robot state; return the next observation if one was waiting for it, with this instruction."""
        if self._state_tolerance_ns is None:
            return None
        if not self._states.saw(state.stamp_ns):
            self._states.add(state.stamp_ns, state)
        return self._next_observation(instruction)

    def waiting_for(self) -> tuple[str, ...]:
        """Name what the newest frame of the first camera lacks; the first camera itself before it came."""
        anchors = self._frames[self._cameras[0]].stamps_ns
        return self._lacking(anchors[-1]) if anchors else self._cameras[:1]

    @property
    def waiting(self) -> int:
        """Frames of all cameras kept now."""
        return sum(len(stream) for stream in self._frames.values())

    def reset(self) -> None:
        """Forget all frames and states, as at the start of an episode; the counters go on."""
        for stream in self._frames.values():
            stream.clear()
        self._states.clear()
        self._used_ns.clear()

    def _matches(self, stamp_ns: int) -> dict[str, int]:
        """Stamp of the frame that goes with an anchor, for each camera that has one."""
        found = {}
        anchors = self._frames[self._cameras[0]]
        for camera in self._cameras:
            match_ns = partner_ns(anchors, self._frames[camera], stamp_ns, self._tolerance_ns)
            if match_ns is not None:
                found[camera] = match_ns
        return found

    def _state_at(self, stamp_ns: int) -> RobotState | None:
        if self._state_tolerance_ns is None:
            return None
        state_ns = self._states.nearest_ns(stamp_ns, self._state_tolerance_ns)
        return None if state_ns is None else self._states.get(state_ns)

    def _lacking(self, stamp_ns: int) -> tuple[str, ...]:
        found = self._matches(stamp_ns)
        lacking = tuple(camera for camera in self._cameras if camera not in found)
        stateless = self._state_tolerance_ns is not None and self._state_at(stamp_ns) is None
        return (*lacking, STATE) if stateless else lacking

    def _next_observation(self, instruction: str) -> Observation | None:
        for stamp_ns in self._frames[self._cameras[0]].stamps_ns:
            if not self._lacking(stamp_ns):
                return self._give(stamp_ns, instruction)
        return None

    def _give(self, stamp_ns: int, instruction: str) -> Observation:
        frames = {}
        for camera, match_ns in self._matches(stamp_ns).items():
            frames[camera] = self._frames[camera].get(match_ns)
            self._used_ns[camera] = match_ns
            self.dropped += self._frames[camera].drop_until(match_ns) - 1
        self.built += 1
        return Observation(stamp_ns, instruction, frames, self._state_at(stamp_ns))
