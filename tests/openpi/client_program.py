"""A robot's program as people write them for openpi; nothing of ours is installed where it runs.

Reads a JSON job, drives a server with openpi's own client, and writes what came back.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    frames = np.load(folder / "frames.npz")
    try:
        WebsocketClientPolicy("127.0.0.1", job["port"], api_key="not-the-key-of-this-server")
        stranger = "admitted"
    except Exception as error:
        stranger = str(error)
    policy = WebsocketClientPolicy("127.0.0.1", job["port"], api_key=job["api_key"])
    actions, timings = [], []
    for color, depth, prompt in zip(frames["color"], frames["depth"], job["prompts"], strict=True):
        observation = {job["color_key"]: color, job["depth_key"]: depth, "prompt": prompt}
        observation.update({key: np.zeros(7) for key in job["state_keys"]})
        answer = policy.infer(observation)
        actions.append(answer["actions"])
        timings.append({name: sorted(answer[name]) for name in ("policy_timing", "server_timing")})
    try:
        policy.infer({job["color_key"]: frames["color"][0]})
        refusal = "answered"
    except RuntimeError as error:
        refusal = str(error)
    again = policy.infer(observation)["actions"]  # the connection is still there
    np.savez(folder / "actions.npz", actions=np.array(actions), again=again)
    report = {"metadata": sorted(policy.get_server_metadata()), "timings": timings, "numpy": np.__version__}
    (folder / "report.json").write_text(json.dumps({**report, "refusal": refusal, "stranger": stranger}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
