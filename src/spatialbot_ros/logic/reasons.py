"""Every reason why motion is refused or stopped, under the name that /diagnostics and the tests use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reason(str, Enum):
    """Name of a refusal; the comment says who gives it."""

    # policy node: images and states
    TOPIC_MISSING = "topic_missing"
    COLOR_STOPPED = "color_stopped"
    DEPTH_STOPPED = "depth_stopped"
    FRAMES_SKEWED = "frames_skewed"
    FRAME_STALE = "frame_stale"
    FRAME_CHANGED = "frame_changed"
    IMAGE_INVALID = "image_invalid"
    DEPTH_INVALID = "depth_invalid"
    STAMP_INVALID = "stamp_invalid"
    # policy node: policy and instruction
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    INSTRUCTION_MISSING = "instruction_missing"
    INSTRUCTION_CHANGED = "instruction_changed"
    POLICY_ERROR = "policy_error"
    POLICY_HUNG = "policy_hung"
    POLICY_LATE = "policy_late"
    TASK_DONE = "task_done"
    # policy node: a policy on another machine
    SERVER_LOST = "server_lost"
    SERVER_SLOW = "server_slow"
    SERVER_CHANGED = "server_changed"
    SERVER_REFUSED = "server_refused"
    # arm node: who commands
    POLICY_STOPPED = "policy_stopped"
    POLICY_SILENT = "policy_silent"
    TELEOP_ACTIVE = "teleop_active"
    TELEOP_RELEASED = "teleop_released"
    OPERATOR_HOLD = "operator_hold"
    SECOND_PUBLISHER = "second_publisher"
    # arm node: the robot
    POSE_STOPPED = "pose_stopped"
    JOINTS_STOPPED = "joints_stopped"
    ROBOT_REFLEX = "robot_reflex"
    ROBOT_USER_STOP = "robot_user_stop"
    ROBOT_ERROR = "robot_error"
    GRIPPER_REFUSED = "gripper_refused"
    BACKEND_ERROR = "backend_error"
    # the guard
    ACTION_INVALID = "action_invalid"
    ACTION_STALE = "action_stale"
    STATE_INVALID = "state_invalid"
    JOINT_LIMIT = "joint_limit"
    IK_UNREACHABLE = "ik_unreachable"
    TRACKING_ERROR = "tracking_error"
    # everybody
    NOT_STARTED = "not_started"
    SHUTDOWN = "shutdown"

    def __str__(self) -> str:
        """The bare name."""
        return self.value


@dataclass(frozen=True)
class Refusal:
    """Why something was not done.

    Attributes:
        reason: the name.
        detail: what was seen and what mends it, for people.
    """

    reason: Reason
    detail: str

    def __str__(self) -> str:
        """`name: detail`, as it stands in logs and diagnostics."""
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)
