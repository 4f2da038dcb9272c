"""Quality of service: profiles, presets and which publisher a subscription accepts."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any

from spatialbot_ros.embedded.exceptions import InvalidQoSProfileException
from spatialbot_ros.embedded.times import Duration


class QoSPolicyEnum(IntEnum):
    """Base of the policies, which have short names for command lines."""

    @classmethod
    def short_keys(cls) -> list[str]:
        """Names as they are written on a command line."""
        return [name.lower() for name in cls.__members__ if not name.startswith("RMW")]

    @classmethod
    def get_from_short_key(cls, name: str) -> Any:
        """Look a policy up by `short_keys`' spelling."""
        return cls[name.upper()]

    @property
    def short_key(self) -> str:
        """This policy as it is written on a command line."""
        return self.name.lower()


class HistoryPolicy(QoSPolicyEnum):
    """How many messages a queue keeps."""

    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2
    UNKNOWN = 3


class ReliabilityPolicy(QoSPolicyEnum):
    """Whether messages may be lost."""

    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2
    UNKNOWN = 3


class DurabilityPolicy(QoSPolicyEnum):
    """Whether late subscribers get earlier messages."""

    SYSTEM_DEFAULT = 0
    TRANSIENT_LOCAL = 1
    VOLATILE = 2
    UNKNOWN = 3


class LivelinessPolicy(QoSPolicyEnum):
    """Who says that a publisher is alive."""

    SYSTEM_DEFAULT = 0
    AUTOMATIC = 1
    MANUAL_BY_TOPIC = 3
    UNKNOWN = 4


class QoSCompatibility(IntEnum):
    """Answer of `qos_check_compatible`."""

    OK = 0
    WARNING = 1
    ERROR = 2


_TYPES: dict[str, type] = {
    "history": HistoryPolicy,
    "depth": int,
    "reliability": ReliabilityPolicy,
    "durability": DurabilityPolicy,
    "lifespan": Duration,
    "deadline": Duration,
    "liveliness": LivelinessPolicy,
    "liveliness_lease_duration": Duration,
    "avoid_ros_namespace_conventions": bool,
}


class QoSProfile:
    """Settings of one publisher or subscription; `history` or `depth` must be given.

    Raises:
        InvalidQoSProfileException: neither history nor depth is given, or keep-last lacks its depth.
    """

    __slots__ = tuple("_" + name for name in _TYPES)

    def __init__(self, **settings: Any) -> None:
        unknown = set(settings) - set(_TYPES)
        if unknown:
            raise AssertionError(
                f"a QoSProfile has no {', '.join(sorted(unknown))}; it has {', '.join(_TYPES)}"
            )
        if "history" not in settings and "depth" not in settings:
            raise InvalidQoSProfileException("History and/or depth settings are required.")
        history = settings.get("history", HistoryPolicy.KEEP_LAST)
        if history == HistoryPolicy.KEEP_LAST and "depth" not in settings:
            raise InvalidQoSProfileException("History set to KEEP_LAST without a depth setting.")
        self.history = history
        self.depth = settings.get("depth", 10)
        self.reliability = settings.get("reliability", ReliabilityPolicy.RELIABLE)
        self.durability = settings.get("durability", DurabilityPolicy.VOLATILE)
        self.liveliness = settings.get("liveliness", LivelinessPolicy.SYSTEM_DEFAULT)
        self.lifespan = settings.get("lifespan", Duration())
        self.deadline = settings.get("deadline", Duration())
        self.liveliness_lease_duration = settings.get("liveliness_lease_duration", Duration())
        self.avoid_ros_namespace_conventions = settings.get("avoid_ros_namespace_conventions", False)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = _TYPES.get(name)
        if kind is not None:
            if isinstance(value, int) and issubclass(kind, IntEnum):
                value = kind(value)
            negative = name == "depth" and isinstance(value, int) and value < 0
            if negative or not isinstance(value, kind):
                raise AssertionError(f"{name} of a QoSProfile must be a {kind.__name__}, got {value!r}")
            name = "_" + name
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _TYPES:
            return object.__getattribute__(self, "_" + name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QoSProfile):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in _TYPES)

    __hash__ = None  # type: ignore[assignment]  # settings may change

    def __repr__(self) -> str:
        return f"QoSProfile({', '.join(f'{name}={getattr(self, name)!r}' for name in _TYPES)})"

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!s}' for name in _TYPES)})"

    @property
    def queue_length(self) -> int | None:
        """Messages that a queue holds; None for any number."""
        return None if self.history == HistoryPolicy.KEEP_ALL else max(1, self.depth)

    @property
    def best_effort(self) -> bool:
        """Whether messages may be lost."""
        return bool(self.reliability == ReliabilityPolicy.BEST_EFFORT)

    @property
    def transient_local(self) -> bool:
        """Whether late subscribers get earlier messages."""
        return bool(self.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def incompatibility(offered: QoSProfile, requested: QoSProfile) -> str | None:
    """Name the policy by which a subscription refuses a publisher; None when they match."""
    if offered.best_effort and not requested.best_effort:
        return "RELIABILITY"
    if requested.transient_local and not offered.transient_local:
        return "DURABILITY"
    return None


def qos_check_compatible(
    publisher_qos: QoSProfile, subscription_qos: QoSProfile
) -> tuple[QoSCompatibility, str]:
    """Say whether a publisher and a subscription with these profiles would match."""
    policy = incompatibility(publisher_qos, subscription_qos)
    if policy is None:
        return QoSCompatibility.OK, ""
    return QoSCompatibility.ERROR, f"ERROR: {policy} offered by the publisher is less than requested;"


def to_profile(qos_or_depth: Any) -> QoSProfile:
    """Turn a `qos_profile` argument into a profile: a mere depth means reliable and volatile."""
    if isinstance(qos_or_depth, QoSProfile):
        return qos_or_depth
    if not isinstance(qos_or_depth, int):
        raise TypeError(f"expected a QoSProfile or a depth as int, got {type(qos_or_depth).__name__}")
    if qos_or_depth < 0:
        raise ValueError(f"the depth of a queue must not be negative, got {qos_or_depth}")
    return QoSProfile(depth=qos_or_depth)


def _sensor_data() -> QoSProfile:
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


qos_profile_unknown = QoSProfile(
    history=HistoryPolicy.UNKNOWN,
    depth=0,
    reliability=ReliabilityPolicy.UNKNOWN,
    durability=DurabilityPolicy.UNKNOWN,
    liveliness=LivelinessPolicy.UNKNOWN,
)
qos_profile_default = QoSProfile(depth=10)
qos_profile_system_default = QoSProfile(
    history=HistoryPolicy.SYSTEM_DEFAULT,
    depth=0,
    reliability=ReliabilityPolicy.SYSTEM_DEFAULT,
    durability=DurabilityPolicy.SYSTEM_DEFAULT,
)
qos_profile_sensor_data = _sensor_data()
qos_profile_services_default = QoSProfile(depth=10)
qos_profile_parameters = QoSProfile(depth=1000)
qos_profile_parameter_events = QoSProfile(depth=1000)
qos_profile_action_status_default = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
qos_profile_rosout_default = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class QoSPresetProfiles(Enum):
    """The profiles that have a name."""

    UNKNOWN = qos_profile_unknown
    DEFAULT = qos_profile_default
    SYSTEM_DEFAULT = qos_profile_system_default
    SENSOR_DATA = qos_profile_sensor_data
    SERVICES_DEFAULT = qos_profile_services_default
    PARAMETERS = qos_profile_parameters
    PARAMETER_EVENTS = qos_profile_parameter_events
    ACTION_STATUS_DEFAULT = qos_profile_action_status_default

    @classmethod
    def short_keys(cls) -> list[str]:
        """Names as they are written on a command line."""
        return [name.lower() for name in cls.__members__]

    @classmethod
    def get_from_short_key(cls, name: str) -> QoSProfile:
        """Look a profile up by `short_keys`' spelling."""
        return cls[name.upper()].value


QoSHistoryPolicy = HistoryPolicy
QoSReliabilityPolicy = ReliabilityPolicy
QoSDurabilityPolicy = DurabilityPolicy
QoSLivelinessPolicy = LivelinessPolicy
