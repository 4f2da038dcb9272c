"""The real openpi-client, in an environment of its own, drives `spatialbot serve` with `tiny`.

Run it with scripts/test_openpi.sh, which makes that environment.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from spatialbot_policy.types import Observation, RgbdFrame

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("SPATIALBOT_OPENPI_PYTHON", "")
KEY = "a-key-for-this-test-alone"
PROMPTS = ["pick up the red cup"] * 6 + ["pick up the blue cup"] * 3
COLOR = {"native": "observation/camera/color", "droid": "observation/exterior_image_1_left"}
DEPTH = {"native": "observation/camera/depth_mm", "droid": "observation/exterior_image_1_left/depth_mm"}
STATE = {"native": [], "droid": ["observation/joint_position", "observation/gripper_position"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="run scripts/test_openpi.sh, which makes the environment"),
]


@contextmanager
def serve(keys: str, folder: Path) -> Iterator[int]:
    """`spatialbot serve` as a process; yields its port and expects an orderly end."""
    key_file = folder / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    command = [sys.executable, "-m", "spatialbot_cli.main", "serve", "--port", "0", "--keys", keys]
    command += ["--checkpoint", str(ROOT / "checkpoints" / "tiny"), "--api-key-file", str(key_file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    log = []
    try:
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"serving on ws://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise AssertionError("".join(log))
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        log += process.communicate(timeout=60)[1].splitlines(keepends=True)
        assert process.returncode == 0, "".join(log)
        assert "Traceback" not in "".join(log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def scenes() -> tuple[np.ndarray, np.ndarray]:
    """Frames that differ, so that the answers do."""
    rng = np.random.default_rng(5)
    small = rng.integers(0, 255, (len(PROMPTS), 12, 16, 3), dtype=np.uint8)
    depth = rng.integers(400, 1500, (len(PROMPTS), 12, 16)).astype(np.uint16)
    return small.repeat(40, 1).repeat(40, 2), depth.repeat(40, 1).repeat(40, 2)


def local_actions(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """What the policy says in this process, counted and begun anew as the server does it."""
    from spatialbot_policy.inference import LocalPolicy

    policy = LocalPolicy.from_checkpoint(ROOT / "checkpoints" / "tiny")
    found = []
    for number, prompt in enumerate(PROMPTS):
        if number and prompt != PROMPTS[number - 1]:
            policy.reset()
        stamp = number * 100_000_000
        frame = RgbdFrame("camera", stamp, color[number], depth[number])
        chunk = policy.act(Observation(stamp, prompt, {"camera": frame}))
        found.append([step.as_vector() for step in chunk.steps])
    return np.array(found)


@pytest.mark.parametrize("keys", ["native", "droid"])
def test_openpis_own_client_drives_the_server(keys, tmp_path):
    color, depth = scenes()
    np.savez(tmp_path / "frames.npz", color=color, depth=depth)
    with serve(keys, tmp_path) as port:
        job = {"port": port, "api_key": KEY, "prompts": PROMPTS, "color_key": COLOR[keys]}
        job |= {"depth_key": DEPTH[keys], "state_keys": STATE[keys]}
        (tmp_path / "job.json").write_text(json.dumps(job))
        program = Path(__file__).with_name("client_program.py")
        done = subprocess.run([PYTHON, program, tmp_path], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    found = np.load(tmp_path / "actions.npz")
    np.testing.assert_array_equal(found["actions"], local_actions(color, depth))
    assert found["again"].shape == (1, 7)
    assert int(report["numpy"].split(".")[0]) < 2
    assert {"server", "action_space", "cameras", "depth_variant", "rate_hz"} <= set(report["metadata"])
    assert all("infer_ms" in timing["policy_timing"] for timing in report["timings"])
    assert report["timings"][0]["server_timing"] == ["infer_ms", "queue_ms"]
    assert all(
        timing["server_timing"] == ["infer_ms", "prev_total_ms", "queue_ms"]
        for timing in report["timings"][1:]
    )
    assert "RequestError: key 'prompt' is missing; send the task in words" in report["refusal"]
    assert "Traceback" not in report["refusal"] and "401" in report["stranger"]
