"""Parameters of the recorder node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.packed import COLOR_ENCODINGS, DEPTH_ENCODINGS, JPEG_QUALITY
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.recording_flow import FlowSettings
from spatialbot_ros.logic.recording_warnings import WarningSettings
from spatialbot_ros.logic.stream_watch import Kind
from spatialbot_ros.nodes.recording_audit import Demand

OUTCOMES: Mapping[str, bool | None] = {"unknown": None, "success": True, "failure": False}


@dataclass(frozen=True)
class AuditParameters:
    """What a recording must have before it is saved; 0 leaves a stream unchecked."""

    camera_hz: float = parameter(5.0, "lowest rate of colour and depth, Hz", low=0.0, high=1000.0, live=True)
    state_hz: float = parameter(
        5.0, "lowest rate of joints and tool pose, Hz", low=0.0, high=10_000.0, live=True
    )
    action_hz: float = parameter(1.0, "lowest rate of executed actions, Hz", low=0.0, high=1000.0, live=True)
    max_gap_s: float = parameter(
        0.5, "longest pause of a camera or of the state, s", low=0.0, high=60.0, live=True
    )


@dataclass(frozen=True)
class RecorderParameters:
    """Where episodes go, what they are called, and which topics they hold."""

    dataset: str = parameter("", "directory of the data set; made at the first start if it is not there")
    robot: str = parameter("fr3", "robot of a new data set")
    task: str = parameter("table", "name of the task, kept with each episode")
    family: str = parameter("", "family of the task, kept with each episode", live=True)
    tasks: str = parameter("", 'task file, e.g. config/tasks/table.yaml; "" records without a list')
    auto_next: bool = parameter(
        False, "after each save go on with the task that is most behind, not with the same one", live=True
    )
    instruction: str = parameter("", "task in words until one comes on instruction_topic")
    outcome: str = parameter(
        "unknown", "what the next save says of the episode", choices=tuple(OUTCOMES), live=True
    )
    allow_incomplete: bool = parameter(
        False, "save although the audit found something; the episode keeps the findings", live=True
    )
    join_tolerance_ms: float = parameter(
        50.0,
        "how far a step's messages may lie from its picture, ms; a person's action is up to a frame later",
        low=0.1,
        high=1000.0,
    )
    queue_mb: int = parameter(512, "messages that may wait for the disk, MB", low=1, high=65_536)
    reliability: str = parameter(
        "best_effort",
        "quality asked of the topics; best_effort takes publishers of both kinds",
        choices=("best_effort", "reliable"),
    )
    rate_hz: float = parameter(10.0, "control rate of a new data set, Hz", low=0.1, high=1000.0)
    translation_bound_m: float = parameter(
        0.05, "largest translation of an action in a new data set, m", low=1e-4, high=1.0
    )
    rotation_bound_rad: float = parameter(
        0.1, "largest rotation of an action in a new data set, rad", low=1e-4, high=3.15
    )
    bins: int = parameter(101, "values of each action dimension in a new data set", low=3, high=999)
    cameras: tuple[str, ...] = parameter(("camera",), "names of the cameras; steps are pictures of the first")
    color_topics: tuple[str, ...] = parameter(
        (topics.color_topic("camera"),), "colour image of each camera, sensor_msgs/Image"
    )
    depth_topics: tuple[str, ...] = parameter(
        (topics.depth_topic("camera"),), 'aligned depth of each camera; "" for a colour camera'
    )
    info_topics: tuple[str, ...] = parameter(
        (topics.camera_info_topic("camera"),), "camera_info of each camera, sensor_msgs/CameraInfo"
    )
    color_encoding: str = parameter(
        "raw",
        "how a new data set keeps colour: as it came, or as jpeg, which takes a fifth of the room",
        choices=COLOR_ENCODINGS,
    )
    jpeg_quality: int = parameter(JPEG_QUALITY, "of color_encoding jpeg", low=1, high=100)
    depth_encoding: str = parameter(
        "raw",
        "how a new data set keeps depth, always exact: as it came, as png that others read, or as delta, "
        "smaller, which this project alone reads",
        choices=DEPTH_ENCODINGS,
    )
    instruction_topic: str = parameter(topics.INSTRUCTION_TOPIC, "task in words, std_msgs/String")
    action_topic: str = parameter(topics.ACTION_TOPIC, "actions of the policy, sensor_msgs/JointState")
    executed_topic: str = parameter(topics.EXECUTED_TOPIC, "what the arm sent, sensor_msgs/JointState")
    joints_topic: str = parameter(topics.JOINTS_TOPIC, "arm joints and finger, sensor_msgs/JointState")
    pose_topic: str = parameter(topics.POSE_TOPIC, "tool pose, geometry_msgs/PoseStamped")
    transforms_topic: str = parameter(topics.TF_TOPIC, "transforms, tf2_msgs/TFMessage")
    static_transforms_topic: str = parameter(
        "/tf_static", 'fixed transforms, attached to each episode, tf2_msgs/TFMessage; "" attaches none'
    )
    description_topic: str = parameter(
        "/robot_description", 'URDF, attached to each episode, std_msgs/String; "" attaches none'
    )
    audit: AuditParameters = field(default_factory=AuditParameters)
    flow: FlowSettings = field(default_factory=FlowSettings)
    warnings: WarningSettings = field(default_factory=WarningSettings)

    def __post_init__(self) -> None:
        for name in ("color_topics", "depth_topics", "info_topics"):
            if len(getattr(self, name)) != len(self.cameras):
                raise ConfigError(
                    f"parameter '{name}' has {len(getattr(self, name))} values, allowed is one for each of "
                    f"the {len(self.cameras)} cameras: {', '.join(self.cameras)}"
                )

    def contract(self) -> dict[str, str]:
        """Topic in the graph -> its name in the episode."""
        names = {
            self.instruction_topic: topics.INSTRUCTION_TOPIC,
            self.action_topic: topics.ACTION_TOPIC,
            self.executed_topic: topics.EXECUTED_TOPIC,
            self.joints_topic: topics.JOINTS_TOPIC,
            self.pose_topic: topics.POSE_TOPIC,
            self.transforms_topic: topics.TF_TOPIC,
        }
        for number, camera in enumerate(self.cameras):
            names[self.color_topics[number]] = topics.color_topic(camera)
            names[self.info_topics[number]] = topics.camera_info_topic(camera)
            if self.depth_topics[number]:
                names[self.depth_topics[number]] = topics.depth_topic(camera)
        return names

    def kinds(self) -> dict[str, Kind]:
        """Topic in the graph -> what its live warnings look at."""
        kinds = dict.fromkeys(self.contract(), Kind.STAMPED)
        kinds |= dict.fromkeys((self.instruction_topic, self.transforms_topic), Kind.OTHER)
        kinds |= dict.fromkeys(self.color_topics, Kind.COLOR)
        kinds |= dict.fromkeys((topic for topic in self.depth_topics if topic), Kind.DEPTH)
        return kinds | {self.pose_topic: Kind.POSE}

    def demands(self) -> dict[str, Demand]:
        """Topic in the graph -> what it must deliver."""
        limits = self.audit
        camera = Demand(limits.camera_hz, limits.max_gap_s)
        state = Demand(limits.state_hz, limits.max_gap_s)
        demands = {topic: camera for topic in (*self.color_topics, *self.depth_topics) if topic}
        demands |= {self.joints_topic: state, self.pose_topic: state}
        return demands | {self.executed_topic: Demand(limits.action_hz)}
