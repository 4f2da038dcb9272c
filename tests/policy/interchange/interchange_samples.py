"""Small data sets for the tests of exports and imports, with everything an episode can hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
)
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState

SIZE = 32
STEP_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
ACTIONS = {"kind": "delta_pose", "translation_bound_m": 0.05, "rotation_bound_rad": 0.1, "bins": 101}
LENS = CameraIntrinsics(SIZE, SIZE, 30.0, 31.0, 16.0, 15.0, (0.1, -0.2, 0.0, 0.0, 0.01))
TASKS = ("pick up the red cup", "put it on the left board")


def contract(cameras: tuple[str, ...] = ("camera",), depth: bool = True) -> DatasetConfig:
    """Contract of one or more small cameras."""
    listed = tuple(DatasetCamera(name, SIZE, SIZE, depth) for name in cameras)
    return DatasetConfig("fr3", listed, dict(ACTIONS), 10.0)


def frame(rng: np.random.Generator, camera: str, stamp_ns: int, depth: bool, deepest: int) -> RgbdFrame:
    """A smooth picture, which video keeps well, with noisy depth."""
    ramp = np.add.outer(np.arange(SIZE), np.arange(SIZE)) * 2 + int(rng.integers(0, 100))
    color = np.stack([ramp, ramp[::-1], ramp.T], axis=2).astype(np.uint8)
    millimetres = rng.integers(0, deepest + 1, (SIZE, SIZE))
    kind = np.uint16 if deepest < 2**16 else np.uint32
    return RgbdFrame(camera, stamp_ns, color, millimetres.astype(kind) if depth else None)


def quaternion(rng: np.random.Generator) -> np.ndarray:
    """A random turn."""
    values = rng.normal(size=4)
    return values / np.linalg.norm(values)


def record(
    directory: Path,
    seed: int = 0,
    steps: int = 6,
    cameras: tuple[str, ...] = ("camera",),
    depth: bool = True,
    state: bool = True,
    executed: bool = True,
    deepest: int = 3000,
    kind: str = "demo",
    success: bool | None = True,
) -> Path:
    """Commit an episode of random values; the instruction changes in its middle."""
    dataset = Dataset.create(directory, contract(cameras, depth))
    rng = np.random.default_rng(seed)
    info = EpisodeInfo(TASKS[0], "pick", "Samples", seed, "fr3", kind, extra={"note": f"seed {seed}"})
    spacing = STEP_NS if kind == "demo" else 20_000_000_000
    with EpisodeWriter(directory, dataset.free_index(), info) as writer:
        for step in range(steps):
            stamp = START_NS + (seed * 1000 + step) * spacing + int(rng.integers(0, 1000))
            if step == steps // 2 and steps > 1:
                writer.write_instruction(stamp, TASKS[1])
            for camera in cameras:
                writer.write_frame(frame(rng, camera, stamp, depth, deepest), LENS)
            if state:
                pose = rng.normal(size=3), quaternion(rng)
                writer.write_state(RobotState(stamp, *pose, float(step % 2), rng.normal(size=7)))
            writer.write_transforms(stamp, {"cup": (rng.normal(size=3), quaternion(rng))})
            if kind == "demo":
                action = ActionStep(
                    rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), float(step % 2), step == steps - 1
                )
                writer.write_action(stamp, action)
                if executed and step % 3:
                    sent = ActionStep(action.translation_m / 2, action.rotation_rad, action.gripper_closure)
                    writer.write_action(stamp, sent, executed=True)
        outcome = {"success": success, "failure": None if success is not False else "dropped"}
        writer.commit(outcome)
    return writer.path


def assert_same(before: Path, after: Path, colour: bool = True) -> None:
    """Two data sets hold the same episodes, apart from what the writer itself notes down."""
    first, second = Dataset(before), Dataset(after)
    assert first.info == second.info
    assert len(first.indices()) == len(second.indices())
    for a, b in zip(first.episodes(), second.episodes(), strict=True):
        for name in ("instruction", "family", "task", "seed", "robot", "kind", "outcome", "intrinsics"):
            assert getattr(a.info, name) == getattr(b.info, name), name
        assert {**a.info.extra, "imported_from": "LeRobot v3"} == b.info.extra
        left, right = a.arrays(), b.arrays()
        for name, values in left.items():
            if name == "color" and not colour:
                continue
            if isinstance(values, dict):
                assert set(values) == set(right[name])
                for key in values:
                    np.testing.assert_array_equal(values[key], right[name][key], err_msg=f"{name} {key}")
            elif name in ("closure",) and values is not None:
                np.testing.assert_allclose(values, right[name], atol=1e-12)
            elif values is None or isinstance(values, list):
                assert values is right[name] or values == right[name], name
            else:
                np.testing.assert_array_equal(values, right[name], err_msg=name)
