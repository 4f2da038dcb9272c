"""A data set: a folder with `dataset.yaml`, the contract all its episodes keep, and its episodes."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spatialbot_policy.episodes.packed import COLOR_ENCODINGS, DEPTH_ENCODINGS, JPEG_QUALITY
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.episodes.topics import topic_types
from spatialbot_policy.errors import EpisodeError

DATASET_FILE = "dataset.yaml"
DATASET_SCHEMA = 2
# libyaml's safe loader where PyYAML has it: every episode that is written reads the file
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EPISODE_NAME = re.compile(r"\d{6,}")
_PARTIAL_NAME = re.compile(r"(\d{6,})\.partial")


def episode_path(directory: Path, index: int) -> Path:
    """Directory of a committed episode."""
    if index < 0:
        raise EpisodeError(f"an episode's index counts from 0, got {index}")
    return directory / "episodes" / f"{index:06d}"


def partial_path(directory: Path, index: int) -> Path:
    """Directory of an episode that is being written."""
    return episode_path(directory, index).with_suffix(".partial")


@dataclass(frozen=True)
class DatasetCamera:
    """A camera of the contract.

    Attributes:
        name: of the camera.
        width, height: image size in pixels.
        depth: whether it delivers depth.
        color_encoding: how colour lies in the file: "raw", as it came, or "jpeg".
        depth_encoding: how depth does, always exact: "raw", "png" (compressedDepth) or "delta", which has
            fewer bytes, and no reader but this project.
        jpeg_quality: 1 .. 100.
    """

    name: str
    width: int
    height: int
    depth: bool = True
    color_encoding: str = "raw"
    depth_encoding: str = "raw"
    jpeg_quality: int = JPEG_QUALITY

    def __post_init__(self) -> None:
        if self.color_encoding not in COLOR_ENCODINGS or self.depth_encoding not in DEPTH_ENCODINGS:
            raise EpisodeError(
                f"camera '{self.name}': colour is kept as {' or '.join(COLOR_ENCODINGS)} and depth as "
                f"{', '.join(DEPTH_ENCODINGS)}, got '{self.color_encoding}' and '{self.depth_encoding}'"
            )

    @property
    def packed(self) -> bool:
        """Whether one of its streams lies compressed in the file."""
        return (self.color_encoding, self.depth_encoding) != ("raw", "raw")

    def to_dict(self) -> dict[str, Any]:
        """Content of `dataset.yaml`; how streams are packed only where they are."""
        data = dataclasses.asdict(self)
        return data if self.packed else {key: data[key] for key in ("name", "width", "height", "depth")}

    def __str__(self) -> str:
        """Describe the camera for messages, e.g. "128 x 128 with depth"."""
        return f"{self.width} x {self.height} with {'depth' if self.depth else 'no depth'}"


@dataclass(frozen=True)
class DatasetConfig:
    """What all episodes of a data set have in common.

    Attributes:
        robot: robot name.
        cameras: the first one's stamps define the steps.
        action_space: description of the actions, e.g. kind, bounds and bins; compared, not interpreted.
        rate_hz: control rate.
        schema: version of `dataset.yaml` and of the topic contract: 2 where pictures lie compressed, so that
            readers that know of none refuse it by name.
    """

    robot: str
    cameras: tuple[DatasetCamera, ...]
    action_space: Mapping[str, object] = field(default_factory=dict)
    rate_hz: float = 10.0
    schema: int = 1

    def __post_init__(self) -> None:
        if any(camera.packed for camera in self.cameras):
            object.__setattr__(self, "schema", DATASET_SCHEMA)
        names = [camera.name for camera in self.cameras]
        if not names or len(set(names)) != len(names):
            raise EpisodeError(f"a data set needs cameras with different names, got {names}")

    @property
    def depth_cameras(self) -> dict[str, bool]:
        """Camera name to whether it delivers depth, in the order of the contract."""
        return {camera.name: camera.depth for camera in self.cameras}

    @property
    def topics(self) -> dict[str, str]:
        """The topic contract: topic to message type."""
        return topic_types(tuple(camera.name for camera in self.cameras))

    def to_dict(self) -> dict[str, Any]:
        """Content of `dataset.yaml`."""
        data = dataclasses.asdict(dataclasses.replace(self, action_space=dict(self.action_space)))
        data["cameras"] = [camera.to_dict() for camera in self.cameras]
        data["topics"] = self.topics
        return data

    @classmethod
    def load(cls, path: Path) -> DatasetConfig:
        """Read `dataset.yaml`.

        Raises:
            EpisodeError: missing, damaged, of a newer schema, with unknown keys or other topics.
        """
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        except FileNotFoundError as error:
            raise EpisodeError(
                f"{path.parent} is no data set: it has no {DATASET_FILE}; give the folder of a data set, or "
                "make one with 'spatialbot collect' or Dataset.create"
            ) from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise EpisodeError(f"{path} cannot be read ({error}); restore the file") from error
        schema = data.get("schema") if isinstance(data, dict) else None
        if not isinstance(schema, int) or schema > DATASET_SCHEMA:
            raise EpisodeError(
                f"{path} has schema {schema!r}, this version reads up to {DATASET_SCHEMA}; update "
                "spatialbot to read it"
            )
        try:
            found = data.pop("topics")
            data["cameras"] = tuple(DatasetCamera(**camera) for camera in data["cameras"])
            config = cls(**data)
        except (KeyError, TypeError) as error:
            raise EpisodeError(f"{path} is damaged or foreign ({error}); restore the file") from error
        if found != config.topics:
            raise EpisodeError(f"{path} lists other topics than this version writes; create another data set")
        return config


class Dataset:
    """An opened data set; listing its episodes reads `episode.json` files only, never messages."""

    def __init__(self, directory: Path | str) -> None:
        """Open an existing data set.

        Raises:
            EpisodeError: the folder holds no readable `dataset.yaml`.
        """
        self.directory = Path(directory)
        self.info = DatasetConfig.load(self.directory / DATASET_FILE)

    @classmethod
    def create(cls, directory: Path | str, config: DatasetConfig) -> Dataset:
        """Make a data set, or open the one that is there when its contract is the same.

        Raises:
            EpisodeError: the folder holds a data set with another contract; it is left as it is.
        """
        directory = Path(directory)
        path = directory / DATASET_FILE
        temporary = directory / f".{DATASET_FILE}.{os.getpid()}"
        text = yaml.safe_dump(_plain(config.to_dict()), sort_keys=False)
        try:
            (directory / "episodes").mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise EpisodeError(
                f"{directory} cannot be written ({error.strerror}); give another directory, or see to its "
                "permissions and the room on its disk"
            ) from error
        try:
            os.link(temporary, path)  # unlike a rename it never replaces, so the first of two workers wins
        except FileExistsError:
            _refuse_other_contract(DatasetConfig.load(path), DatasetConfig.load(temporary), directory)
        finally:
            temporary.unlink()
        return cls(directory)

    def indices(self) -> list[int]:
        """Indices of the committed episodes in ascending order."""
        return sorted(int(name) for name in self._names() if _EPISODE_NAME.fullmatch(name))

    def partials(self) -> list[int]:
        """Indices of episodes that are being written or were left by a crash."""
        return sorted(int(match[1]) for name in self._names() if (match := _PARTIAL_NAME.fullmatch(name)))

    def foreign(self) -> list[str]:
        """Names of folders beside the episodes that are none, as somebody's copy; they are left alone."""
        ours = (_EPISODE_NAME, _PARTIAL_NAME)
        return sorted(name for name in self._names() if not any(form.fullmatch(name) for form in ours))

    def free_index(self) -> int:
        """One more than the highest index in use, complete or partial."""
        return max([*self.indices(), *self.partials()], default=-1) + 1

    def episode(self, index: int) -> EpisodeReader:
        """Open one episode.

        Raises:
            EpisodeError: there is none with this index, or its `episode.json` is damaged.
        """
        path = episode_path(self.directory, index)
        if not path.is_dir():
            raise EpisodeError(
                f"{self.directory} has no episode {index}; 'spatialbot episodes list' shows them"
            )
        return EpisodeReader(path)

    def episodes(self) -> list[EpisodeReader]:
        """Open all committed episodes, in the order of their indices."""
        return [self.episode(index) for index in self.indices()]

    def _names(self) -> list[str]:
        folder = self.directory / "episodes"
        return [entry.name for entry in os.scandir(folder) if entry.is_dir()] if folder.is_dir() else []


def _plain(value: Any) -> Any:
    """Form in which a value comes back from YAML: tuples as lists, enumerations as their values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return value


def contract_differences(found: DatasetConfig, wanted: DatasetConfig) -> list[str]:
    """What two contracts do not have in common, one text for each field; empty where they are the same."""
    names = [item.name for item in dataclasses.fields(DatasetConfig)]
    return [
        f"{name}: {getattr(found, name)} there, {getattr(wanted, name)} asked"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]


def _refuse_other_contract(found: DatasetConfig, wanted: DatasetConfig, directory: Path) -> None:
    if differing := contract_differences(found, wanted):
        raise EpisodeError(
            f"{directory} is a data set with another contract ({'; '.join(differing)}); use another folder "
            "or the same settings"
        )
