"""Parameters of the sim node."""

from __future__ import annotations

from dataclasses import dataclass

from spatialbot_ros.logic.parameter import parameter

LOCKSTEP = "lockstep"
REALTIME = "realtime"


@dataclass(frozen=True)
class SimParameters:
    """Which scenes are played, how time passes, and under which names."""

    mode: str = parameter(
        LOCKSTEP,
        "lockstep: physics waits for the command that answers each picture; realtime: it goes on without",
        choices=(LOCKSTEP, REALTIME),
    )
    family: str = parameter(
        "pick",
        "family of SpatialPickPlace",
        choices=("pick", "position", "size", "obstacle", "illusion"),
    )
    phrasing: str = parameter("held_out", "instructions", choices=("train", "held_out"))
    first_seed: int = parameter(
        10_000_000, "seed of the first scene; training has those below 10000000", low=0, high=2**31 - 1
    )
    episodes: int = parameter(
        0,
        "scenes to play, seeds counting up; 0: the first scene stands and nobody is called",
        low=0,
        high=100_000,
    )
    max_steps: int = parameter(100, "control steps until an episode counts as a failure", low=1, high=100_000)
    image_size: int = parameter(128, "width and height of the cameras, pixels", low=16, high=1024)
    wrist_camera: bool = parameter(False, "a second camera at the hand, named wrist")
    patience_s: float = parameter(
        2.0,
        "lockstep: wall time for policy and arm to answer before simulated time goes on without them, s",
        low=0.05,
        high=3600.0,
    )
    start_timeout_s: float = parameter(
        60.0, "wall time for a refused start before the episode counts as failed, s", low=0.1, high=3600.0
    )
    exit_when_done: bool = parameter(False, "end this node after the last episode")
    base_frame: str = parameter("base", "frame_id of the tool pose")
    instruction_topic: str = parameter("/spatialbot/instruction", "instruction of the scene, std_msgs/String")
    joints_topic: str = parameter("/joint_states", "arm joints and finger, sensor_msgs/JointState")
    pose_topic: str = parameter("/spatialbot/ee_pose", "tool pose, geometry_msgs/PoseStamped")
    target_topic: str = parameter("/target_pose", "commands from the arm, geometry_msgs/PoseStamped")
    executed_topic: str = parameter(
        "/spatialbot/executed_action", "what the arm says that it sent, sensor_msgs/JointState"
    )
    gripper_action: str = parameter(
        "/fr3_gripper/gripper_action", "goals for the gripper, control_msgs/GripperCommand"
    )
    policy: str = parameter("/spatialbot/policy", "namespace of the policy's status, start and stop")
    arm: str = parameter("/spatialbot/arm", "namespace of the arm's status, resume and recover")
    outcome_topic: str = parameter(
        "/spatialbot/sim/outcome", "how each episode ended, std_msgs/String in JSON"
    )
