"""What a scene of SpatialPickPlace holds, as plain data: objects, boards, target, instruction.

No simulator in here.
World frame: origin on the table top in front of the robot, x away from it, y to its left, z up.
The camera stands opposite the robot, so its left is the robot's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.palette import Rgb

BOARD_HALF_M = (0.075, 0.075, 0.006)
OBJECT_REGION_M = ((-0.11, 0.10), (-0.125, 0.125))


class Family(str, Enum):
    """The five families of SpatialPickPlace, after SpatialQA-E (SpatialBot, ICRA 2025)."""

    PICK = "pick"
    POSITION = "position"
    SIZE = "size"
    OBSTACLE = "obstacle"
    ILLUSION = "illusion"


class Shape(str, Enum):
    """Procedural object shapes."""

    CUP = "cup"
    BALL = "ball"
    BOX = "box"


class Role(str, Enum):
    """What an object is in its scene."""

    TARGET = "target"
    DISTRACTOR = "distractor"
    OBSTACLE = "obstacle"
    PICTURE = "picture"


@dataclass(frozen=True)
class ObjectSpec:
    """One object standing on the table; `radius_m` is half the width of a box."""

    name: str
    shape: Shape
    role: Role
    color: str
    radius_m: float
    height_m: float
    xy_m: tuple[float, float]
    yaw_rad: float
    rgb: Rgb = (0.5, 0.5, 0.5)

    @property
    def rest_height_m(self) -> float:
        """Height of the object's centre above the surface it stands on."""
        return self.radius_m if self.shape is Shape.BALL else self.height_m / 2

    @property
    def grasp_height_m(self) -> float:
        """Height of the tool centre point above the object's foot when the fingers close."""
        return self.radius_m if self.shape is Shape.BALL else max(0.5 * self.height_m, self.height_m - 0.025)


@dataclass(frozen=True)
class BoardSpec:
    """A cutting board; `side` is the side the robot sees it on."""

    side: str
    rgb: Rgb
    xy_m: tuple[float, float]


@dataclass(frozen=True)
class SceneSpec:
    """A whole scene: `objects` holds exactly one target, `goal` is the index of its board."""

    family: Family
    seed: int
    instruction: str
    objects: tuple[ObjectSpec, ...]
    boards: tuple[BoardSpec, BoardSpec]
    goal: int
    table_rgb: Rgb

    @property
    def target(self) -> ObjectSpec:
        """The object the instruction asks for."""
        return next(item for item in self.objects if item.role is Role.TARGET)

    @property
    def obstacle(self) -> ObjectSpec | None:
        """The thing in the way, in the `obstacle` family."""
        return next((item for item in self.objects if item.role is Role.OBSTACLE), None)


def parse_family(name: str) -> Family:
    """Turn a name into a Family.

    Raises:
        TaskError: no family has that name.
    """
    try:
        return Family(name)
    except ValueError as error:
        known = ", ".join(family.value for family in Family)
        raise TaskError(f"unknown family '{name}'; the families are: {known}") from error
