"""Keys of a terminal become actions: which key does what, and a held key as its own dead-man button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.parameter import check_parameters, parameter
from spatialbot_ros.logic.teleop_mapping import motion_step


@dataclass(frozen=True)
class KeyboardMapping:
    """Speeds of the keys; which key does what is in MOTION_KEYS and COMMAND_KEYS."""

    linear_speed_m_s: float = parameter(
        0.05, "speed while a key is held, m/s", low=0.001, high=0.5, live=True
    )
    angular_speed_rad_s: float = parameter(
        0.3, "angular speed while a key is held, rad/s", low=0.01, high=2.0, live=True
    )
    hold_ms: float = parameter(
        200.0,
        "a key counts as held for this long after its last repeat: a terminal reports no release, ms",
        low=20.0,
        high=1000.0,
        live=True,
    )

    def __post_init__(self) -> None:
        check_parameters(self)


# (x, y, z, roll, pitch, yaw) of each key
MOTION_KEYS: Mapping[str, tuple[float, ...]] = {
    "w": (1, 0, 0, 0, 0, 0),
    "s": (-1, 0, 0, 0, 0, 0),
    "a": (0, 1, 0, 0, 0, 0),
    "d": (0, -1, 0, 0, 0, 0),
    "q": (0, 0, 1, 0, 0, 0),
    "e": (0, 0, -1, 0, 0, 0),
    "o": (0, 0, 0, 1, 0, 0),
    "u": (0, 0, 0, -1, 0, 0),
    "i": (0, 0, 0, 0, 1, 0),
    "k": (0, 0, 0, 0, -1, 0),
    "j": (0, 0, 0, 0, 0, 1),
    "l": (0, 0, 0, 0, 0, -1),
}
TOGGLE_KEY = " "
COMMAND_KEYS: Mapping[str, str] = {
    "1": "start",
    "2": "save",
    "3": "discard",
    "4": "rerecord",
    "5": "undo",
    "y": "success",
    "n": "failure",
    ".": "next_task",
    ",": "previous_task",
    "h": "hold",
    "g": "resume",
    "x": "recover",
}
KEYBOARD_HELP = (
    "w s  forward, back    a d  left, right    q e  up, down    (robot base frame)\n"
    "o u  roll             i k  pitch          j l  yaw         space  open or close the gripper\n"
    "1 start  2 save  3 discard  4 discard and re-record an episode  5 take back the last saved one\n"
    "y success  n failure, again for its kind  . next task  , previous task\n"
    "h hold  g resume  x recover the arm"
)


class KeyboardTeleop:
    """Turns the keys of a terminal into actions: a held key is its own dead-man button.

    Attributes:
        mapping: may be replaced between two keys.
        closure: gripper closure that the next action asks for, as in JoyTeleop.
    """

    def __init__(self, mapping: KeyboardMapping, closure: float = 0.0) -> None:
        self.mapping = mapping
        self.closure = closure
        self._pressed_ns: dict[str, int] = {}

    def press(self, key: str, now_ns: int) -> str | None:
        """Note a key; return the one of COMMANDS it stands for, None for motion and unknown keys."""
        if key == TOGGLE_KEY and key not in self._held(now_ns):  # held down, it would flutter
            self.closure = 0.0 if self.closure > 0.5 else 1.0
        if key == TOGGLE_KEY or key in MOTION_KEYS:
            self._pressed_ns[key] = now_ns
        return COMMAND_KEYS.get(key)

    def action(self, now_ns: int, dt_s: float) -> ActionStep | None:
        """Motion for one control period of `dt_s` seconds; None while no key of motion or gripper is held.

        Raises:
            ActionError: the period is not in 0..MAX_PERIOD_S.
        """
        held = self._held(now_ns)
        if not held:
            return None
        deflection = np.zeros(6)
        for key in held:
            deflection += MOTION_KEYS.get(key, 0.0)
        speeds = (self.mapping.linear_speed_m_s, self.mapping.angular_speed_rad_s)
        return motion_step(deflection, speeds, dt_s, self.closure)

    def release(self) -> None:
        """Forget all keys, as when the terminal loses its input."""
        self._pressed_ns.clear()

    def _held(self, now_ns: int) -> list[str]:
        hold_ns = self.mapping.hold_ms * 1e6
        return [key for key, pressed_ns in self._pressed_ns.items() if 0 <= now_ns - pressed_ns <= hold_ns]
