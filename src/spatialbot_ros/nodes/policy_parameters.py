"""What a user may set of policy_node: topics, rates, tolerances, and the robot a checkpoint must fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast, get_args

from spatialbot_policy.action_space import ActionKind, ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episodes.topics import ACTION_TOPIC, INSTRUCTION_TOPIC, color_topic, depth_topic
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_ros.logic.parameter import parameter

COLOR_ONLY = "none"
VARIANTS = (COLOR_ONLY, *(variant.value for variant in DepthVariant))


@dataclass(frozen=True)
class RobotContract:
    """What the robot's side was set up for; a checkpoint that was trained for another is not started."""

    rate_hz: float = parameter(10.0, "Control steps a second.", low=0.1, high=200.0)
    depth_variant: str = parameter("paper", "Encoding of depth; none for colour only.", choices=VARIANTS)
    action_kind: str = parameter("delta_pose", "Form of the actions.", choices=get_args(ActionKind))
    translation_bound_m: float = parameter(0.05, "Largest step along an axis, m.", low=1e-4, high=1.0)
    rotation_bound_rad: float = parameter(0.1, "Largest turn about an axis, rad.", low=1e-4, high=3.2)
    bins: int = parameter(101, "Values of each action dimension, odd.", low=3, high=999)

    @property
    def period_ns(self) -> int:
        """One control step."""
        return round(1e9 / self.rate_hz)

    def expected(self, checkpoint: PolicyConfig, cameras: tuple[str, ...]) -> PolicyConfig:
        """The configuration a checkpoint must have here.

        Image sizes, history and prompt belong to the checkpoint alone, and are taken from it.
        """
        sizes = {camera.name: (camera.width, camera.height) for camera in checkpoint.cameras}
        first = checkpoint.cameras[0]
        variant = None if self.depth_variant == COLOR_ONLY else DepthVariant(self.depth_variant)
        return replace(
            checkpoint,
            cameras=tuple(
                CameraConfig(name, *sizes.get(name, (first.width, first.height))) for name in cameras
            ),
            rate_hz=self.rate_hz,
            depth_variant=variant,
            action_space=self.action_space,
        )

    @property
    def action_space(self) -> ActionSpace:
        """Bounds and bins as one object.

        Raises:
            ConfigError: the number of bins is even.
        """
        kind = cast(ActionKind, self.action_kind)
        return ActionSpace(kind, self.translation_bound_m, self.rotation_bound_rad, self.bins)


@dataclass(frozen=True)
class PolicyParameters:
    """Parameters of policy_node. A period is one of `camera_rate_hz` for frames, of `robot.rate_hz` else."""

    checkpoint: str = parameter("", "Directory of the checkpoint; not looked at where there is a server.")
    device: str = parameter("cpu", "Torch device of the policy, such as cpu or cuda.")
    dtype: str = parameter(
        "float32",
        "Precision of large parts; auto: bfloat16 where it is native and gains.",
        choices=("float32", "bfloat16", "auto"),
    )
    decoding: str = parameter(
        "checkpoint",
        "How action tokens are decoded; checkpoint: as it was trained to.",
        choices=("checkpoint", "sequential", "parallel"),
    )
    compile: bool = parameter(False, "Translate the network with torch.compile; starts minutes slower.")
    server: str = parameter("", "Policy server, ws://HOST:PORT or wss://HOST:PORT; empty: it runs here.")
    server_timeout_ms: float = parameter(
        0.0, "The longest to wait for the server's answer, ms; 0: late_after_periods.", low=0.0, high=60_000.0
    )
    server_connect_timeout_s: float = parameter(
        5.0, "The longest that one attempt to connect may take, s.", low=0.1, high=60.0
    )
    server_images: str = parameter(
        "auto", "How images travel; jpeg alone loses detail.", choices=tuple(mode.value for mode in ImageMode)
    )
    server_api_key_file: str = parameter("", "File with the server's key; empty: SPATIALBOT_API_KEY.")
    server_ca_file: str = parameter("", "Certificates for a wss:// server, PEM; empty: the system's.")
    instruction: str = parameter("", "Task in words until one comes on instruction_topic.")
    autostart: bool = parameter(False, "Start once by itself when everything is there; for simulation.")

    cameras: tuple[str, ...] = parameter(("camera",), "Names of the cameras as in policy.yaml.")
    color_topics: tuple[str, ...] = parameter((color_topic("camera"),), "Colour image topic of each camera.")
    depth_topics: tuple[str, ...] = parameter(
        (depth_topic("camera"),), "Aligned depth topic of each camera; an empty text for colour only."
    )
    image_transport: str = parameter(
        "raw", "raw, or compressed: the topics with /compressed and /compressedDepth added.",
        choices=("raw", "compressed"),
    )  # fmt: skip
    image_reliability: str = parameter(
        "best_effort", "What is asked of the cameras' publishers.", choices=("best_effort", "reliable")
    )

    camera_rate_hz: float = parameter(30.0, "Frames a second of the slowest camera.", low=0.1, high=200.0)
    frame_timeout_periods: float = parameter(
        1.8, "Silence of a camera that stops the policy, in periods.", low=1.0, high=100.0
    )
    pair_tolerance_ms: float = parameter(
        10.0, "Largest distance of the stamps of colour and depth, ms.", low=0.0, high=1000.0
    )
    camera_tolerance_ms: float = parameter(
        20.0, "Largest distance of the stamps of two cameras, ms.", low=0.0, high=1000.0
    )
    max_frame_age_ms: float = parameter(
        100.0, "Oldest frame that is used: arrival after stamp, ms.", low=1.0, high=10_000.0
    )
    max_frame_lead_ms: float = parameter(
        10.0, "How far a stamp may lie in the future, ms; a clock topic can come late.", low=0.0, high=1000.0
    )
    late_after_periods: float = parameter(
        1.4, "An answer that takes longer stops the policy, in periods.", low=0.1, high=1000.0
    )
    hung_after_periods: float = parameter(
        1.8, "No answer for longer stops the policy, in periods.", low=0.1, high=1000.0
    )
    blend_steps: int = parameter(0, "Steps over which a new chunk replaces the old one.", low=0, high=100)

    instruction_topic: str = parameter(INSTRUCTION_TOPIC, "Task in words, latched.")
    action_topic: str = parameter(ACTION_TOPIC, "Where the actions go.")
    latency_topic: str = parameter("/spatialbot/latency", "Where the duration of each stage goes.")
    start_service: str = parameter("/spatialbot/policy/start", "Starts the policy.")
    stop_service: str = parameter("/spatialbot/policy/stop", "Stops the policy.")

    robot: RobotContract = field(default_factory=RobotContract)

    @property
    def frame_period_ns(self) -> int:
        """Time between two frames of a camera."""
        return round(1e9 / self.camera_rate_hz)

    @property
    def frame_timeout_ns(self) -> int:
        """Silence of a camera that stops the policy."""
        return round(self.frame_period_ns * self.frame_timeout_periods)

    @property
    def server_timeout_s(self) -> float:
        """The longest to wait for a server's answer."""
        return self.server_timeout_ms / 1e3 if self.server_timeout_ms > 0 else self.late_ns / 1e9

    @property
    def late_ns(self) -> int:
        """The longest that an answer may take."""
        return round(self.robot.period_ns * self.late_after_periods)

    @property
    def hung_ns(self) -> int:
        """The longest to wait for an answer."""
        return round(self.robot.period_ns * self.hung_after_periods)


def check_policy_parameters(values: PolicyParameters) -> None:
    """Check what concerns several parameters at once.

    Raises:
        ConfigError: names the parameter and what is allowed.
    """
    cameras = values.cameras
    if not cameras or len(set(cameras)) != len(cameras) or not all(cameras):
        raise ConfigError(f"parameter 'cameras' is {cameras}, allowed are one or more different names")
    for name in ("color_topics", "depth_topics"):
        found = getattr(values, name)
        if len(found) != len(cameras):
            raise ConfigError(
                f"parameter '{name}' is {found}, allowed is one for each of 'cameras' {cameras}"
            )
    if not all(values.color_topics):
        raise ConfigError(f"parameter 'color_topics' is {values.color_topics}, none may be empty")
    if values.robot.depth_variant != COLOR_ONLY and not all(values.depth_topics):
        raise ConfigError(
            f"parameter 'depth_topics' is {values.depth_topics}, but 'robot.depth_variant' is "
            f"{values.robot.depth_variant!r}: name a depth topic for each camera, or set it to {COLOR_ONLY!r}"
        )
    try:
        _ = values.robot.action_space
    except ConfigError as error:
        raise ConfigError(f"parameters 'robot.*': {error}") from error
    if values.hung_after_periods < values.late_after_periods:
        raise ConfigError(
            f"parameter 'hung_after_periods' is {values.hung_after_periods}, allowed is "
            f"'late_after_periods' ({values.late_after_periods}) or more"
        )
