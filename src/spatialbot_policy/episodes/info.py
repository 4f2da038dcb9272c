"""What `episode.json` holds: the facts about one episode that are known without decoding its messages."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.errors import EpisodeError

SCHEMA_VERSION = 1
KINDS = ("demo", "stills")
INFO_FILE = "episode.json"
MCAP_FILE = "episode.mcap"
LABEL_HISTORY = "label_history"
"""Key of `extra` with the labels an episode had before, oldest first; `when` is the moment they ended."""


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        success: None where nobody knows, as after a crash.
        failure: the kind of failure, e.g. "dropped", "wrong_object", "timeout"; None on success.
        recovered: the recording was cut off and brought back by `spatialbot episodes recover`.
    """

    success: bool | None
    failure: str | None = None
    recovered: bool = False

    @classmethod
    def of(cls, value: Outcome | Mapping[str, object]) -> Outcome:
        """Take an outcome, or build one from a mapping with the keys of this class.

        Raises:
            EpisodeError: an unknown or missing key, or a wrong type.
        """
        if isinstance(value, Outcome):
            return value
        data: dict[str, Any] = dict(value)
        _refuse_unknown(data, cls, "outcome")
        success, failure = data.get("success", "missing"), data.get("failure")
        if isinstance(success, np.bool_):
            success = bool(success)
        if not isinstance(success, bool | None) or not isinstance(failure, str | None):
            raise EpisodeError(
                f"outcome {data}: 'success' must be true, false or null and 'failure' a string or null"
            )
        return cls(success, failure, bool(data.get("recovered", False)))


@dataclass(frozen=True)
class EpisodeInfo:
    """Facts about one episode: the first block is given by whoever records, the second by the writer.

    Attributes:
        instruction: the task in words; stills may hold more instructions as messages.
        family: task family, e.g. "pick".
        task: environment or task name, e.g. "SpatialPickPlace-v1".
        seed: the seed of the scene; None for a recording of a real robot.
        robot: robot name.
        kind: "demo", a trajectory, or "stills", unrelated scenes whose stamps are spaced wider than any
            gap a history bridges.
        extra: anything that JSON can hold.
        join_tolerance_ms: 0 where all messages of a step share one stamp; otherwise a raw recording, whose
            steps are made of the messages nearest to each picture, at most this far from it.
        index: number of the episode in its data set.
        outcome: None until committed.
        counts: messages per topic.
        steps: number of observations.
        start_ns, end_ns: first and last stamp.
        intrinsics: per camera.
        software_version, git_commit: what wrote it, as far as known.
        mcap_bytes, checksum: size and SHA-256 of `episode.mcap`; empty until committed.
        schema: version of this record and of the topic contract.
    """

    instruction: str
    family: str
    task: str
    seed: int | None
    robot: str = "fr3"
    kind: str = "demo"
    extra: Mapping[str, object] = field(default_factory=dict)
    join_tolerance_ms: float = 0.0

    index: int | None = None
    outcome: Outcome | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    steps: int = 0
    start_ns: int | None = None
    end_ns: int | None = None
    intrinsics: Mapping[str, CameraIntrinsics] = field(default_factory=dict)
    software_version: str = ""
    git_commit: str | None = None
    mcap_bytes: int = 0
    checksum: str = ""
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EpisodeError(f"an episode's kind is one of {list(KINDS)}, got '{self.kind}'")
        if not self.instruction.strip():
            raise EpisodeError("an episode needs an instruction; pass the task in words")
        if self.join_tolerance_ms < 0 or (self.join_tolerance_ms > 0 and self.kind != "demo"):
            raise EpisodeError(
                f"join_tolerance_ms is {self.join_tolerance_ms:g} for {self.kind}; it is 0, or more for the "
                "raw recording of a demo"
            )

    @property
    def join_tolerance_ns(self) -> int:
        """`join_tolerance_ms` in nanoseconds; 0 for an exact join."""
        return round(self.join_tolerance_ms * 1e6)

    @property
    def relabelled_instruction(self) -> str | None:
        """The instruction of all steps where somebody changed it after the recording; else None."""
        history = self.extra.get(LABEL_HISTORY, ())
        changes = history if isinstance(history, list | tuple) else ()
        changed = any(isinstance(entry, Mapping) and "instruction" in entry for entry in changes)
        return self.instruction if changed else None

    @property
    def committed(self) -> bool:
        """Whether the episode was written to its end, or recovered."""
        return bool(self.checksum)

    def to_json(self) -> str:
        """Text of `episode.json`."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return json.dumps(values, indent=2, default=_plain) + "\n"

    def save(self, directory: Path, durable: bool = True) -> None:
        """Replace `episode.json` in one step, so that a crash leaves the old one or the new one.

        Args:
            directory: of the episode.
            durable: bring it to the disk before returning, so that a power cut leaves it too.
        """
        temporary = directory / f".{INFO_FILE}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(self.to_json())
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, directory / INFO_FILE)

    @classmethod
    def load(cls, directory: Path) -> EpisodeInfo:
        """Read `episode.json` of an episode's directory.

        Raises:
            EpisodeError: it is missing, not JSON, of a newer schema, or has unknown or missing fields.
        """
        path = directory / INFO_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise EpisodeError(
                f"{directory} is no episode: it has no {INFO_FILE}; give a folder such as "
                "DATASET/episodes/000042"
            ) from error
        except (OSError, ValueError) as error:
            raise EpisodeError(
                f"{path} cannot be read ({error}); restore it or remove the episode"
            ) from error
        if not isinstance(data, dict):
            raise EpisodeError(f"{path} does not hold a JSON object; restore it or remove the episode")
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: dict[str, Any], path: Path) -> EpisodeInfo:
        """Build from what `episode.json` holds; `path` is named in errors.

        Raises:
            EpisodeError: of a newer schema, or unknown or missing fields.
        """
        schema = data.get("schema")
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise EpisodeError(
                f"{path} has schema {schema!r}, this version reads up to {SCHEMA_VERSION}; update "
                "spatialbot to read it"
            )
        _refuse_unknown(data, cls, str(path))
        data = dict(data)
        try:
            outcome = data.pop("outcome")
            intrinsics = data.pop("intrinsics")
            return cls(
                outcome=None if outcome is None else Outcome.of(outcome),
                intrinsics={name: _intrinsics(value) for name, value in intrinsics.items()},
                **data,
            )
        except EpisodeError as error:
            raise EpisodeError(f"{path}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise EpisodeError(
                f"{path} is incomplete or damaged ({error}); restore it or remove the episode"
            ) from error


def _intrinsics(data: dict[str, Any]) -> CameraIntrinsics:
    return CameraIntrinsics(**{**data, "distortion": tuple(data["distortion"])})


def _refuse_unknown(data: Mapping[str, object], cls: type, where: str) -> None:
    allowed = {item.name for item in dataclasses.fields(cls)}
    unknown = sorted(set(data) - allowed)
    if unknown:
        raise EpisodeError(f"{where}: unknown keys {unknown}; allowed are {sorted(allowed)}")


def _plain(value: object) -> object:
    """JSON form of this module's dataclasses and of the numpy values and mappings that `extra` may hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise EpisodeError(
        f"'extra' cannot hold {type(value).__name__}; use numbers, strings, lists and mappings"
    )
