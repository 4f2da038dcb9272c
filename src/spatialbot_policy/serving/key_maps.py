"""Under which keys a client sends its observation: our own, and those of programs written for openpi."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from spatialbot_policy.config import PolicyConfig, load_yaml
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.resources import share_directory

_CAMERA = "{camera}"


@dataclass(frozen=True)
class CameraKeys:
    """Keys of one camera; `{camera}` in them stands for its name. An empty one does not exist.

    Attributes:
        color: of the colour image.
        depth_mm: of the depth image aligned to it.
        stamp_ns: of the stamp of this camera's images, where it differs from the observation's.
    """

    color: str
    depth_mm: str = ""
    stamp_ns: str = ""

    def named(self, camera: str) -> CameraKeys:
        """The keys with the camera's name filled in."""
        color, depth, stamp = (
            key.replace(_CAMERA, camera) for key in (self.color, self.depth_mm, self.stamp_ns)
        )
        return CameraKeys(color, depth, stamp)

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that exist."""
        return tuple(key for key in (self.color, self.depth_mm, self.stamp_ns) if key)


@dataclass(frozen=True)
class KeyMap:
    """Keys of an observation's message: a file of config/serve.

    Attributes:
        cameras: keys of the policy's first camera, second camera, ..; a single entry with `{camera}` in it
            stands for all of them. Those beyond the policy's cameras are ignored.
        prompt: key of the instruction.
        stamp_ns: key of the observation's stamp; empty when the client has none.
        reset: key of the flag that begins a new episode; empty when the client has none.
        ignore: keys that the client sends and the policy does not use.

    Raises:
        ConfigError: no camera, or a key that means two things.
    """

    cameras: tuple[CameraKeys, ...]
    prompt: str = "prompt"
    stamp_ns: str = "observation/stamp_ns"
    reset: str = "reset"
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cameras or not self.prompt or not all(camera.color for camera in self.cameras):
            raise ConfigError("a key map needs 'prompt' and at least one camera with 'color'")
        twice = [key for key, count in Counter(self._all(self.cameras)).items() if count > 1]
        if twice:
            raise ConfigError(f"key '{twice[0]}' means two things; give each its own")

    def _all(self, cameras: tuple[CameraKeys, ...]) -> list[str]:
        own = [key for key in (self.prompt, self.stamp_ns, self.reset, *self.ignore) if key]
        return own + [key for camera in cameras for key in camera.keys]

    @property
    def for_any_camera(self) -> bool:
        """Whether one entry stands for all cameras."""
        return len(self.cameras) == 1 and _CAMERA in self.cameras[0].color

    def of_policy(self, config: PolicyConfig) -> PolicyKeys:
        """The keys for the cameras of one policy.

        Raises:
            ConfigError: the policy has more cameras than the map, or needs depth and there is no key for it.
        """
        names = [camera.name for camera in config.cameras]
        templates = self.cameras * len(names) if self.for_any_camera else self.cameras
        if len(templates) < len(names):
            raise ConfigError(
                f"the key map has {len(templates)} cameras, the policy {len(names)} ({', '.join(names)}); "
                "add their keys to the file, or take --keys native"
            )
        cameras = {name: keys.named(name) for name, keys in zip(names, templates, strict=False)}
        if config.depth_variant is not None:
            flat = [name for name, keys in cameras.items() if not keys.depth_mm]
            if flat:
                raise ConfigError(f"the policy needs depth, and the key map has no depth_mm of '{flat[0]}'")
        unused = tuple(key for keys in templates[len(names) :] for key in keys.keys)
        # Built anew, so that names of cameras that make two keys equal are found too.
        exact = replace(self, cameras=tuple(cameras.values()), ignore=self.ignore + unused)
        return PolicyKeys(exact, cameras)


@dataclass(frozen=True)
class PolicyKeys:
    """The keys of one policy's observations.

    Attributes:
        map: with the cameras of the policy, in its order.
        cameras: keys by the name of the policy's camera.
    """

    map: KeyMap
    cameras: Mapping[str, CameraKeys]

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Every key that means something, in a fixed order."""
        own = [key for key in (self.map.prompt, self.map.stamp_ns, self.map.reset) if key]
        return (*own, *(key for camera in self.cameras.values() for key in camera.keys))

    @cached_property
    def accepted(self) -> frozenset[str]:
        """Every key that may be there."""
        return frozenset((*self.known, *self.map.ignore))


NATIVE = KeyMap(
    cameras=(
        CameraKeys(
            color="observation/{camera}/color",
            depth_mm="observation/{camera}/depth_mm",
            stamp_ns="observation/{camera}/stamp_ns",
        ),
    )
)


def load_key_map(name: str | Path) -> KeyMap:
    """Read a key map: the name of one in config/serve, or a file.

    Raises:
        ConfigError: there is no such file, or it is no key map.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        return load_yaml(KeyMap, text)
    directory = share_directory() / "config" / "serve"
    names = sorted(path.stem for path in directory.glob("*.yaml"))
    if text not in names:
        raise ConfigError(
            f"there is no key map '{text}'; choose from {', '.join(names)}, or name a .yaml file"
        )
    return load_yaml(KeyMap, directory / f"{text}.yaml")
