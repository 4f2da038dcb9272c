"""Joystick axes become actions: scaling, dead zone, dead-man button, robot's or camera's frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_policy.types import ActionStep, FloatArray
from spatialbot_ros.logic.parameter import check_parameters, parameter
from spatialbot_ros.logic.pose import from_rotation_vector, matrix, rpy_from_quaternion
from spatialbot_ros.logic.recording_flow import VERBS

ARM_COMMANDS = ("hold", "resume", "recover")
COMMANDS = (*VERBS, *ARM_COMMANDS)
"""What a button or a key can ask of the recorder and of the arm."""
RELEASED_ONLY = ("rerecord", "undo", "success", "failure", "next_task", "previous_task")
"""Count only while the dead-man button is released, so that they may share buttons with the gripper."""
MAX_PERIOD_S = 1.0
_BUTTON = "; index in Joy.buttons, -1 for none"


@dataclass(frozen=True)
class JoyMapping:
    """What the axes and buttons of a sensor_msgs/Joy mean; the defaults are an Xbox pad's under joy_node.

    Raises:
        ConfigError: a value is outside its range.
    """

    axes: tuple[int, ...] = parameter(
        (1, 0, 4, 6, 7, 3),
        "indices in Joy.axes of x, y, z, roll, pitch, yaw; -1 for none",
        low=-1,
        high=63,
        length=6,
    )
    signs: tuple[float, ...] = parameter(
        (1.0, 1.0, 1.0, -1.0, 1.0, 1.0),
        "factor of each of these axes: its direction and relative speed",
        low=-1.0,
        high=1.0,
        length=6,
    )
    linear_speed_m_s: float = parameter(0.1, "speed at full deflection, m/s", low=0.001, high=0.5, live=True)
    angular_speed_rad_s: float = parameter(
        0.5, "angular speed at full deflection, rad/s", low=0.01, high=2.0, live=True
    )
    dead_zone: float = parameter(
        0.1, "deflection that counts as none; the rest is rescaled", low=0.0, high=0.9, live=True
    )
    expo: float = parameter(
        0.3,
        "share of the cube in the answer: 0 is linear, 1 is gentle near the middle",
        low=0,
        high=1,
        live=True,
    )
    frame: str = parameter(
        "base",
        "axes the deflections refer to: the robot base's, or the camera body's (x forward, y left, z up)",
        choices=("base", "camera"),
        live=True,
    )
    dead_man_button: int = parameter(4, "moves only while held" + _BUTTON, low=0, high=63)
    close_button: int = parameter(0, "closes the gripper" + _BUTTON, low=-1, high=63)
    open_button: int = parameter(1, "opens the gripper" + _BUTTON, low=-1, high=63)
    toggle_button: int = parameter(-1, "opens or closes the gripper" + _BUTTON, low=-1, high=63)
    start_button: int = parameter(7, "starts an episode" + _BUTTON, low=-1, high=63)
    save_button: int = parameter(3, "saves the episode" + _BUTTON, low=-1, high=63)
    discard_button: int = parameter(6, "discards the episode" + _BUTTON, low=-1, high=63)
    rerecord_button: int = parameter(
        8, "released: discards the episode and starts it again" + _BUTTON, low=-1, high=63
    )
    undo_button: int = parameter(9, "released: takes back the last saved episode" + _BUTTON, low=-1, high=63)
    success_button: int = parameter(0, "released: labels a success" + _BUTTON, low=-1, high=63)
    failure_button: int = parameter(
        1, "released: labels a failure, again for its kind" + _BUTTON, low=-1, high=63
    )
    next_task_button: int = parameter(10, "released: chooses the next task" + _BUTTON, low=-1, high=63)
    previous_task_button: int = parameter(
        -1, "released: chooses the previous task" + _BUTTON, low=-1, high=63
    )
    hold_button: int = parameter(2, "holds the arm" + _BUTTON, low=-1, high=63)
    resume_button: int = parameter(5, "lets the policy in" + _BUTTON, low=-1, high=63)
    recover_button: int = parameter(-1, "releases a latched stop" + _BUTTON, low=-1, high=63)

    def __post_init__(self) -> None:
        check_parameters(self)
        always = ("dead_man", *(name for name in COMMANDS if name not in RELEASED_ONLY))
        self._refuse_shared((*always, "close", "open", "toggle"), "while the dead-man button is held")
        self._refuse_shared((*always, *RELEASED_ONLY), "while the dead-man button is released")

    def _refuse_shared(self, names: Sequence[str], when: str) -> None:
        """One button means one thing at a time.

        Raises:
            ConfigError: names the button and both of its meanings.
        """
        meanings: dict[int, str] = {}
        for name in names:
            button = getattr(self, f"{name}_button")
            if button >= 0 and button in meanings:
                raise ConfigError(
                    f"button {button} is both {meanings[button]}_button and {name}_button {when}; set one of "
                    "them to another button, or to -1 for none"
                )
            meanings[button] = name


GAMEPAD = JoyMapping()
SPACEMOUSE = JoyMapping(
    axes=(0, 1, 2, 3, 4, 5),
    signs=(1.0,) * 6,
    dead_man_button=0,
    close_button=-1,
    open_button=-1,
    toggle_button=1,
    start_button=-1,
    save_button=-1,
    discard_button=-1,
    rerecord_button=-1,
    undo_button=-1,
    success_button=-1,
    failure_button=-1,
    next_task_button=-1,
    hold_button=-1,
    resume_button=-1,
)
JOY_PRESETS: Mapping[str, JoyMapping] = {"gamepad": GAMEPAD, "spacemouse": SPACEMOUSE}


class JoyTeleop:
    """Turns Joy messages into actions and commands, by a mapping.

    Attributes:
        mapping: may be replaced between two messages.
        closure: gripper closure that the next action asks for. Set it to the last one commanded before a
            person takes over, or the takeover drops what the gripper holds.
    """

    def __init__(self, mapping: JoyMapping, closure: float = 0.0) -> None:
        self.mapping = mapping
        self.closure = closure
        self._held: frozenset[int] = frozenset()
        self._toggled = False

    def action(
        self,
        axes: Sequence[float],
        buttons: Sequence[int],
        dt_s: float,
        camera_quaternion_xyzw: FloatArray | None = None,
    ) -> ActionStep | None:
        """Motion for one control period.

        Args:
            axes: Joy.axes, each in -1..1; more counts as 1.
            buttons: Joy.buttons.
            dt_s: the control period in seconds.
            camera_quaternion_xyzw: (4,) orientation of the camera's body (x forward, y left, z up) in the
                robot base frame; needed for frame "camera" only.

        Returns:
            The action; None while the dead-man button is not held.

        Raises:
            ActionError: the joystick has no such axis or dead-man button, or a number is not finite.
        """
        mapping = self.mapping
        if mapping.dead_man_button >= len(buttons):
            raise ActionError(
                f"the joystick has {len(buttons)} buttons, no button {mapping.dead_man_button}; "
                "set dead_man_button or the preset to match it"
            )
        toggled = _pressed(buttons, mapping.toggle_button)
        flip, self._toggled = toggled and not self._toggled, toggled
        if not _pressed(buttons, mapping.dead_man_button):
            return None
        deflection = np.array([self._deflection(axes, place) for place in range(6)])
        if _pressed(buttons, mapping.close_button):
            self.closure = 1.0
        elif _pressed(buttons, mapping.open_button):
            self.closure = 0.0
        elif flip:
            self.closure = 0.0 if self.closure > 0.5 else 1.0
        turn = None
        if mapping.frame == "camera":
            if camera_quaternion_xyzw is None:
                raise ActionError(
                    "frame 'camera' needs the camera's orientation; publish its tf or set frame to base"
                )
            turn = matrix(camera_quaternion_xyzw)
        speeds = (mapping.linear_speed_m_s, mapping.angular_speed_rad_s)
        return motion_step(deflection, speeds, dt_s, self.closure, turn)

    def commands(self, buttons: Sequence[int]) -> tuple[str, ...]:
        """Which of COMMANDS were pressed since the last call; a button held down counts once."""
        held = frozenset(place for place, value in enumerate(buttons) if value)
        fresh, self._held = held - self._held, held
        driving = self.mapping.dead_man_button in held
        return tuple(
            name
            for name in COMMANDS
            if getattr(self.mapping, f"{name}_button") in fresh and not (driving and name in RELEASED_ONLY)
        )

    def _deflection(self, axes: Sequence[float], place: int) -> float:
        axis = self.mapping.axes[place]
        if axis < 0:
            return 0.0
        if axis >= len(axes):
            raise ActionError(
                f"the joystick has {len(axes)} axes, no axis {axis}; set axes or the preset to match it"
            )
        if not math.isfinite(axes[axis]):
            raise ActionError(f"axis {axis} of the joystick reads {axes[axis]}; look at its driver")
        return self.mapping.signs[place] * shape(axes[axis], self.mapping.dead_zone, self.mapping.expo)


def shape(deflection: float, dead_zone: float, expo: float) -> float:
    """Deflection in -1..1 after dead zone and expo: odd, rising and continuous, 0 to 0 and 1 to 1."""
    size = min(abs(deflection), 1.0)
    size = max(size - dead_zone, 0.0) / (1.0 - dead_zone)
    return math.copysign((1.0 - expo) * size + expo * size**3, deflection)


def motion_step(
    deflection: FloatArray,
    speeds: tuple[float, float],
    dt_s: float,
    closure: float,
    turn: FloatArray | None = None,
) -> ActionStep:
    """Action of a deflection held for one period.

    Args:
        deflection: (6,) x, y, z, roll, pitch, yaw; each half is shortened to length 1, so that a diagonal is
            no faster than an axis.
        speeds: m/s and rad/s at deflection 1.
        dt_s: the period in seconds.
        closure: of the gripper.
        turn: (3, 3) rotation matrix of the deflection's frame in the robot base frame; None if they agree.

    Raises:
        ActionError: the period is not in 0..MAX_PERIOD_S.
    """
    if not 0.0 < dt_s <= MAX_PERIOD_S:
        raise ActionError(
            f"a control period must be in 0 .. {MAX_PERIOD_S:g} s, got {dt_s}; set control_rate_hz"
        )
    halves = []
    for half, speed in zip((deflection[:3], deflection[3:]), speeds, strict=True):
        shortened = half / max(1.0, math.hypot(*half.tolist()))
        halves.append((shortened if turn is None else turn @ shortened) * speed * dt_s)
    return ActionStep(halves[0], rpy_from_quaternion(from_rotation_vector(halves[1])), closure)


def _pressed(buttons: Sequence[int], button: int) -> bool:
    return 0 <= button < len(buttons) and bool(buttons[button])
