"""The real `lerobot` library, in an environment of its own, loads what we export: compared frame by frame.

Run it with scripts/test_lerobot.sh, which makes that environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.training.training_samples import record_demos

from spatialbot_policy import depth
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import Dataset
from spatialbot_policy.interchange.image_bytes import DepthForm
from spatialbot_policy.interchange.lerobot_export import LeRobotOptions, export_lerobot
from spatialbot_policy.interchange.lerobot_video import psnr_db

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("SPATIALBOT_LEROBOT_PYTHON", "")
RECORDED = ROOT / "datasets" / "val"
DECODER_DB = 0.2  # what another library's conversion from YUV to RGB may cost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="run scripts/test_lerobot.sh, which makes the environment"),
]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> tuple[Path, tuple[int, ...]]:
    """Episodes of the simulation: recorded earlier, or now."""
    if RECORDED.is_dir():
        demos = [reader.info for reader in Dataset(RECORDED).episodes() if reader.info.kind == "demo"]
        return RECORDED, tuple(info.index for info in demos[:3])
    directory = tmp_path_factory.mktemp("simulation") / "data"
    command = [sys.executable, "-m", "spatialbot_cli.main", "collect", "--out", str(directory)]
    subprocess.run([*command, "--demos", "3", "--workers", "1"], check=True, cwd=ROOT)
    return directory, (0, 1, 2)


def load(root: Path, out: Path) -> dict[str, np.ndarray]:
    """What `LeRobotDataset` gives for every frame, and the losses of some steps of training on it."""
    program = str(Path(__file__).with_name("lerobot_program.py"))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "hf")}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [PYTHON, program, str(root), str(out)], capture_output=True, text=True, env=environment, timeout=900
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return dict(np.load(out))


def expected(directory: Path, indices: tuple[int, ...]):
    return [Dataset(directory).episode(index).arrays() for index in indices]


def pixels(images: np.ndarray) -> np.ndarray:
    """The 8-bit values of (T, 3, H, W) tensors, as (T, H, W, 3)."""
    return np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def assert_numbers(found, episodes):
    def stacked(name):
        return np.concatenate([arrays[name] for arrays in episodes])

    np.testing.assert_array_equal(found["action"], stacked("actions").astype(np.float32))
    np.testing.assert_array_equal(found["terminate"], stacked("terminate"))
    np.testing.assert_array_equal(found["stamp_ns"], stacked("stamps"))
    state = np.concatenate([stacked("tcp_pose"), stacked("closure")[:, None], stacked("joints")], axis=1)
    np.testing.assert_array_equal(found["observation.state"], state.astype(np.float32))
    if "executed_action" in found:
        np.testing.assert_array_equal(found["executed_action"][:, :7], stacked("executed").astype(np.float32))
    assert found["tasks"].tolist() == [text for arrays in episodes for text in arrays["instructions"]]
    lengths = [len(arrays["stamps"]) for arrays in episodes]
    assert found["episode_index"].tolist() == np.repeat(range(len(lengths)), lengths).tolist()
    assert found["frame_index"].tolist() == [step for length in lengths for step in range(length)]


def assert_depth(found, episodes, variant):
    encoded = pixels(found["observation.images.camera_depth"])
    truth = np.concatenate([arrays["depth"]["camera"] for arrays in episodes])
    for image, millimetres in zip(encoded, truth, strict=True):
        np.testing.assert_array_equal(depth.decode(image, variant), millimetres)


def test_a_simulation_with_video(simulated, tmp_path):
    directory, indices = simulated
    export_lerobot(directory, tmp_path / "export", LeRobotOptions(indices=indices))
    found, episodes = load(tmp_path / "export", tmp_path / "found.npz"), expected(directory, indices)
    assert_numbers(found, episodes)
    assert_depth(found, episodes, DepthVariant.PAPER)
    info = json.loads((tmp_path / "export/meta/info.json").read_text())
    stated = info["features"]["observation.images.camera"]["info"]
    colors = pixels(found["observation.images.camera"])
    errors = np.concatenate([arrays["color"]["camera"] for arrays in episodes]).astype(float) - colors
    worst = psnr_db(float((errors**2).mean(axis=(1, 2, 3)).max()))
    assert worst >= stated["video.worst_psnr_db"] - DECODER_DB and worst > 30
    assert psnr_db(float((errors**2).mean())) >= stated["video.psnr_db"] - DECODER_DB
    actions = found["action"]
    np.testing.assert_array_equal(found["window"], actions[0:3])
    assert found["losses"][-5:].mean() < 0.5 * found["losses"][:5].mean()


def test_a_simulation_without_loss_in_several_files(simulated, tmp_path):
    directory, indices = simulated
    options = LeRobotOptions(video=False, depth=DepthForm.UINT24, indices=indices, file_megabytes=0.001)
    report = export_lerobot(directory, tmp_path / "export", options)
    assert not any(subject.startswith("colour") for subject in report.lost)
    assert len(list((tmp_path / "export/data/chunk-000").iterdir())) == len(indices)
    found, episodes = load(tmp_path / "export", tmp_path / "found.npz"), expected(directory, indices)
    assert_numbers(found, episodes)
    assert_depth(found, episodes, DepthVariant.UINT24)
    colors = np.concatenate([arrays["color"]["camera"] for arrays in episodes])
    np.testing.assert_array_equal(pixels(found["observation.images.camera"]), colors)


def test_several_files_of_video(tmp_path):
    record_demos(tmp_path / "data", seeds=(1, 2, 3, 4))
    export_lerobot(tmp_path / "data", tmp_path / "export", LeRobotOptions(file_megabytes=0.0))
    assert len(list((tmp_path / "export/videos/observation.images.camera/chunk-000").iterdir())) > 1
    found, episodes = load(tmp_path / "export", tmp_path / "found.npz"), expected(tmp_path / "data", range(4))
    assert_numbers(found, episodes)
    assert_depth(found, episodes, DepthVariant.PAPER)
    colors = np.concatenate([arrays["color"]["camera"] for arrays in episodes])
    errors = colors.astype(float) - pixels(found["observation.images.camera"])
    stated = json.loads((tmp_path / "export/meta/info.json").read_text())["features"]
    worst = psnr_db(float((errors**2).mean(axis=(1, 2, 3)).max()))
    assert worst >= stated["observation.images.camera"]["info"]["video.worst_psnr_db"] - DECODER_DB
