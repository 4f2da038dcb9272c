"""Poses and rotations: quaternions x, y, z, w; roll, pitch, yaw about fixed axes; rotation vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import ActionError
from spatialbot_policy.types import FloatArray

_UNIT_TOLERANCE = 1e-9  # a quaternion this close to unit length passes bit by bit
_SMALL_RAD = 1e-9  # below it sin(x) / x is 1 to the last bit


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a frame is, in another.

    Attributes:
        position_m: (3,) float64, read-only.
        quaternion_xyzw: (4,) float64 of unit length, read-only; normalised only where its length differs
            from one by more than 1e-9, so that values pass through bit by bit.

    Raises:
        ActionError: a width is wrong, a value is not finite or the quaternion is zero.
    """

    position_m: FloatArray
    quaternion_xyzw: FloatArray

    def __post_init__(self) -> None:
        position = np.array(self.position_m, dtype=np.float64)
        quaternion = np.array(self.quaternion_xyzw, dtype=np.float64)
        if position.shape != (3,) or quaternion.shape != (4,):
            raise ActionError(
                f"a pose is 3 metres and 4 of a quaternion, got {position.shape} and {quaternion.shape}"
            )
        if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
            raise ActionError(f"a pose must be finite, got {position}, {quaternion}; check its publisher")
        quaternion = _unit(quaternion)
        position.setflags(write=False)
        quaternion.setflags(write=False)
        object.__setattr__(self, "position_m", position)
        object.__setattr__(self, "quaternion_xyzw", quaternion)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same numbers, sign of the quaternion included."""
        if not isinstance(other, Pose):
            return NotImplemented
        return bool(
            np.array_equal(self.position_m, other.position_m)
            and np.array_equal(self.quaternion_xyzw, other.quaternion_xyzw)
        )

    def __hash__(self) -> int:
        # +0.0 turns -0.0 into 0.0: equal poses must have equal hashes
        return hash(((self.position_m + 0.0).tobytes(), (self.quaternion_xyzw + 0.0).tobytes()))

    def distance(self, other: Pose) -> tuple[float, float]:
        """How far another pose is: metres, and radians of the smaller turn."""
        turn = rotation_vector(multiply(other.quaternion_xyzw, conjugate(self.quaternion_xyzw)))
        return length(other.position_m - self.position_m), length(turn)


def _unit(quaternion: FloatArray) -> FloatArray:
    # hypot scales by the largest value: squares of very large or very small ones would be lost
    norm = math.hypot(*quaternion.tolist())
    if norm == 0.0:
        raise ActionError("a quaternion of zero length is no rotation; send 0, 0, 0, 1 for none")
    if not math.isfinite(norm):
        return _unit(quaternion / np.abs(quaternion).max())
    if abs(norm - 1.0) <= _UNIT_TOLERANCE:
        return quaternion
    if norm < 1e-300:
        return _unit(quaternion / np.abs(quaternion).max())
    return quaternion / norm


def length(vector: FloatArray) -> float:
    """Euclidean length, without overflow."""
    return math.hypot(*vector.tolist())


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product: turn by `b` first, then by `a`, both about fixed axes."""
    ax, ay, az, aw = a.tolist()
    bx, by, bz, bw = b.tolist()
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def conjugate(quaternion: FloatArray) -> FloatArray:
    """The opposite turn of a unit quaternion."""
    x, y, z, w = quaternion.tolist()
    return np.array([-x, -y, -z, w])


def quaternion_from_rpy(rpy_rad: FloatArray) -> FloatArray:
    """Unit quaternion of roll, pitch, yaw about fixed axes: R = Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = (0.5 * angle for angle in rpy_rad.tolist())
    cr, sr = math.cos(roll), math.sin(roll)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    return np.array(
        [
            cy * cp * sr - sy * sp * cr,
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
            cy * cp * cr + sy * sp * sr,
        ]
    )


def rpy_from_quaternion(quaternion: FloatArray) -> FloatArray:
    """(3,) roll, pitch, yaw of a unit quaternion; pitch in -pi/2 .. pi/2, at its ends roll is 0."""
    x, y, z, w = quaternion.tolist()
    # R[2] is the row (-sin p, cos p sin r, cos p cos r)
    sine, sr, cr = 2.0 * (w * y - x * z), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)
    cosine = math.hypot(sr, cr)
    pitch = math.atan2(sine, cosine)
    if cosine < 1e-7:
        return np.array([0.0, pitch, math.atan2(-2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z))])
    yaw = math.atan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))
    return np.array([math.atan2(sr, cr), pitch, yaw])


def rotation_vector(quaternion: FloatArray) -> FloatArray:
    """(3,) axis times angle in radians of a unit quaternion, the shorter way round (at most pi)."""
    x, y, z, w = quaternion.tolist()
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    sine = math.hypot(x, y, z)
    scale = 2.0 if sine < _SMALL_RAD else 2.0 * math.atan2(sine, w) / sine
    return np.array([x * scale, y * scale, z * scale])


def from_rotation_vector(vector_rad: FloatArray) -> FloatArray:
    """Unit quaternion of a rotation vector (axis times angle) in radians."""
    x, y, z = vector_rad.tolist()
    angle = math.hypot(x, y, z)
    scale = 0.5 if angle < _SMALL_RAD else math.sin(0.5 * angle) / angle
    return np.array([x * scale, y * scale, z * scale, math.cos(0.5 * angle)])


def matrix(quaternion: FloatArray) -> FloatArray:
    """(3, 3) rotation matrix of a unit quaternion."""
    x, y, z, w = quaternion.tolist()
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )


def interpolate(a: Pose, b: Pose, fraction: float) -> Pose:
    """Pose between two: straight in position, the shorter turn at even speed; 0 gives `a`, 1 gives `b`."""
    if fraction <= 0.0:
        return a
    if fraction >= 1.0:
        return b
    position = a.position_m + fraction * (b.position_m - a.position_m)
    turn = rotation_vector(multiply(b.quaternion_xyzw, conjugate(a.quaternion_xyzw)))
    return Pose(position, multiply(from_rotation_vector(fraction * turn), a.quaternion_xyzw))
