"""What a recording says of its objects beside their poses: role and size, from `EpisodeInfo.extra`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from spatialbot_policy.config import from_dict
from spatialbot_policy.errors import ConfigError, EpisodeError

OBJECTS_KEY = "objects"
"""Key of `EpisodeInfo.extra`: name of a transform to the fields of `ObjectFacts`."""
ROLES = ("target", "distractor", "obstacle", "picture")


@dataclass(frozen=True)
class ObjectFacts:
    """One object of a scene.

    Attributes:
        role: "target" or "distractor"; "obstacle", which is in the way; "picture", a flat one of an object.
        radius_m: half its width.
        height_m: from its foot to its top; of a picture, of what it shows.
        shape: e.g. "cup".
        color: e.g. "red".

    Raises:
        ConfigError: an unknown role, or a size that is not above 0.
    """

    role: str
    radius_m: float
    height_m: float
    shape: str = ""
    color: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ConfigError(f"an object's role is one of {', '.join(ROLES)}, got '{self.role}'")
        if not (self.radius_m > 0 and self.height_m > 0):
            raise ConfigError(
                f"an object's radius_m and height_m are above 0, got {self.radius_m} and {self.height_m}"
            )

    @property
    def real(self) -> bool:
        """Whether it has a height and a width of its own."""
        return self.role != "picture"


def object_facts(extra: Mapping[str, object], where: str) -> dict[str, ObjectFacts]:
    """Read an episode's facts by name; empty where its recorder knew none. Further keys are left alone.

    Args:
        extra: of the episode's `EpisodeInfo`.
        where: the episode, for the error.

    Raises:
        EpisodeError: facts of another form.
    """
    found = extra.get(OBJECTS_KEY, {})
    known = {field.name for field in fields(ObjectFacts)}
    if not isinstance(found, Mapping) or not all(isinstance(facts, Mapping) for facts in found.values()):
        raise EpisodeError(
            f"{where}: extra.{OBJECTS_KEY} gives each object's facts by its name, got {found!r}; mend its "
            "episode.json"
        )
    try:
        return {
            name: from_dict(
                ObjectFacts,
                {key: value for key, value in facts.items() if key in known},
                f"{where}: extra.{OBJECTS_KEY}.{name}",
            )
            for name, facts in found.items()
        }
    except ConfigError as error:
        raise EpisodeError(f"{error}; mend its episode.json, or record the episode again") from error
