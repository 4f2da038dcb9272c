"""What a policy's checkpoint promises: policy.yaml as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config_files import from_dict, load_yaml, save_yaml, to_dict
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.prompt import PromptStyle

__all__ = [
    "ActionSpaceConfig",
    "CameraConfig",
    "PolicyConfig",
    "from_dict",
    "load_yaml",
    "save_yaml",
    "to_dict",
]

# An action space is nothing but its numbers, so it is its own configuration.
ActionSpaceConfig = ActionSpace


@dataclass(frozen=True)
class CameraConfig:
    """One camera as the model sees it.

    Attributes:
        name: key of the camera in an observation's frames.
        width: of the model's image in pixels; frames of any size are fitted to it.
        height: of the model's image in pixels.
    """

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if not self.name or self.width < 1 or self.height < 1:
            raise ConfigError(f"a camera needs a name, a width and a height, got {self}")


@dataclass(frozen=True)
class PolicyConfig:
    """What a checkpoint was trained with and every robot, recording or simulator must match: policy.yaml.

    Attributes:
        cameras: in the order of the model's images.
        schema: version of this file's form.
        history_length: observations that make one prompt.
        max_gap_ms: a longer pause between two frames starts the history afresh.
        rate_hz: control steps a second in the training data.
        depth_variant: encoding of the depth images; None for a policy that sees colour only.
        prompt: wording of the prompt.
        action_space: bounds and bins.
        training: free-form summary of data and recipe, for people.

    Raises:
        ConfigError: a value outside its range.
    """

    cameras: tuple[CameraConfig, ...]
    schema: int = 1
    history_length: int = 4
    max_gap_ms: int = 500
    rate_hz: float = 10.0
    depth_variant: DepthVariant | None = None
    prompt: PromptStyle = PromptStyle.REFERENCE
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    training: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if self.schema != 1:
            raise ConfigError(f"schema {self.schema} is not known here, only 1; update the software")
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"cameras must be at least one and differ in name, got {names}")
        if self.history_length < 1 or self.max_gap_ms < 1 or not 0 < self.rate_hz < float("inf"):
            raise ConfigError(
                f"history_length, max_gap_ms and rate_hz must be positive, got {self.history_length}, "
                f"{self.max_gap_ms} and {self.rate_hz}"
            )

    @property
    def max_gap_ns(self) -> int:
        """The longest pause inside one history, in nanoseconds."""
        return self.max_gap_ms * 1_000_000

    def check_matches(self, other: PolicyConfig, other_name: str = "the request") -> None:
        """Refuse to use this checkpoint where its inputs, outputs or rate would mean something else.

        `max_gap_ms` and the training summary may differ: they change no image and no action.

        Raises:
            CheckpointError: lists every disagreement with both values.
        """
        mine, theirs = _promises(self), _promises(other)
        differences = [f"{key}: {mine[key]} != {theirs[key]}" for key in mine if mine[key] != theirs[key]]
        if differences:
            raise CheckpointError(
                f"the checkpoint and {other_name} disagree (checkpoint != {other_name}): "
                + "; ".join(differences)
                + f". Bring {other_name} in line with the checkpoint's policy.yaml, or use another checkpoint"
            )


def _promises(config: PolicyConfig) -> dict[str, object]:
    """What must agree, by the key that a reader finds in policy.yaml."""
    flat = {f"action_space.{key}": value for key, value in to_dict(config.action_space).items()}
    return flat | {
        "depth_variant": config.depth_variant.value if config.depth_variant else "none (colour only)",
        "cameras": ", ".join(f"{c.name} {c.width}x{c.height}" for c in config.cameras),
        "rate_hz": config.rate_hz,
        "history_length": config.history_length,
        "prompt": config.prompt.value,
    }
