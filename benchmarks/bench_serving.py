"""What asking a server costs over a local call, for 640 x 480 RGB-D on loopback, and its health under load.

python -m benchmarks.bench_serving prints tables, then the figures as one line of JSON. The server runs in a
process of its own, with a policy without a network: it fits and encodes the images, as any policy does, and
stands still. The local call is to the same policy. For the health, each answer takes three seconds of sums.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.scenes import PERIOD_NS, SIZE, observation
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.process_tuning import tune_process
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.serving.server import PolicyServer
from spatialbot_policy.serving.settings import ServerSettings
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, Policy

CONFIG = PolicyConfig((CameraConfig("camera", 128, 128),), depth_variant=DepthVariant.PAPER)
MODES = (ImageMode.RAW, ImageMode.FIT, ImageMode.ZSTD, ImageMode.PNG, ImageMode.JPEG)
LOCAL = "local call"
INFERENCE_S = 3.0
DISTINCT = 8
WARM_UP = 5
TARGETS = {"overhead_p50_ms": 3.0, "overhead_p99_ms": 8.0, "health_max_ms": 50.0}


class StandStill:
    """A policy without a network.

    Args:
        work_s: of matrix products before each answer: they leave the interpreter free, as a network's do.
    """

    def __init__(self, work_s: float) -> None:
        self._pipeline, self._work_s = build_pipeline(CONFIG), work_s

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Prepare the images, and answer with no motion."""
        self._pipeline.encode_observation(observation)
        end, matrix = time.perf_counter() + self._work_s, np.ones((512, 512), np.float32)
        while self._work_s and time.perf_counter() < end:
            matrix = matrix @ matrix * 0.0
        return ActionChunk(observation.stamp_ns, (ActionStep(np.zeros(3), np.zeros(3), 0.0),))


class Host:
    """Gives every client a StandStill."""

    config, fingerprint = CONFIG, "0" * 64

    def __init__(self, work_s: float) -> None:
        self._work_s = work_s

    def new_policy(self) -> Policy:
        """One more."""
        return StandStill(self._work_s)


async def serve(work_s: float) -> None:
    """Body of the server's process: say the port, and serve until it is ended."""
    server = PolicyServer(Host(work_s), ServerSettings(port=0))
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


@contextmanager
def server_process(work_s: float) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    command = [sys.executable, "-m", "benchmarks.bench_serving", "--serve", str(work_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip().isdigit():
                raise RuntimeError(f"the server did not start: {line!r}")
            yield int(line)
        finally:
            process.terminate()


def observations(count: int) -> Iterator[Observation]:
    """Steps of an episode; the pictures repeat after a while."""
    made = [observation(step, CONFIG) for step in range(DISTINCT)]
    for step in range(count):
        seen, stamp_ns = made[step % DISTINCT], (step + 1) * PERIOD_NS
        frames = {name: replace(frame, stamp_ns=stamp_ns) for name, frame in seen.frames.items()}
        yield replace(seen, stamp_ns=stamp_ns, frames=frames)


def measure_overhead(steps: int) -> dict[str, dict[str, float]]:
    """The local call and every way of sending images take turns, so that a busy machine slows all of them."""
    with server_process(0.0) as port:
        link = LinkSettings(timeout_s=5.0, reset_wait_s=5.0)
        ways: dict[str, Any] = {LOCAL: StandStill(0.0)}
        for mode in MODES:
            ways[str(mode)] = RemotePolicy(f"ws://127.0.0.1:{port}", replace(link, images=mode))
        times: dict[str, list[float]] = {name: [] for name in ways}
        timings: dict[str, list[Any]] = {name: [] for name in ways}
        for policy in ways.values():
            policy.reset()
        for number, each in enumerate(observations(steps + WARM_UP)):
            for name, policy in ways.items():
                start = time.perf_counter()
                policy.act(each)
                took_ms = (time.perf_counter() - start) * 1e3
                if number >= WARM_UP:
                    times[name].append(took_ms)
                    timings[name].append(getattr(policy, "timing", None))
        for name, policy in ways.items():
            if name != LOCAL:
                policy.close()
    local_ms = statistics.median(times[LOCAL])
    return {name: _summary(times[name], timings[name], local_ms) for name in ways}


def _summary(times: list[float], timings: list[Any], local_ms: float) -> dict[str, float]:
    """Percentiles, what they are above the local call's median, and where the time went."""
    p50, p99 = (float(value) for value in np.percentile(times, [50, 99]))
    found = {
        "p50_ms": p50,
        "p99_ms": p99,
        "overhead_p50_ms": p50 - local_ms,
        "overhead_p99_ms": p99 - local_ms,
    }
    told = [timing for timing in timings if timing is not None]
    if told:
        for stage in ("encode_ms", "link_ms", "decode_ms"):
            found[stage] = statistics.median(getattr(timing, stage) for timing in told)
        found["sent_bytes"] = statistics.median(timing.sent_bytes for timing in told)
    return found


def measure_health(answers: int) -> dict[str, float]:
    """Ask /healthz over and over on new connections while the policy works without a pause."""
    with server_process(INFERENCE_S) as port:
        policy = RemotePolicy(f"ws://127.0.0.1:{port}", LinkSettings(timeout_s=30.0, reset_wait_s=5.0))
        policy.reset()
        done = threading.Event()

        def work() -> None:
            for each in observations(answers):
                policy.act(each)
            done.set()

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        times = []
        while not done.is_set() and worker.is_alive():
            times.append(_ask_health(port))
            time.sleep(0.005)
        policy.close()
    if not done.is_set():
        raise RuntimeError("the policy gave no answer, so nothing was measured")
    p50, p99 = (float(value) for value in np.percentile(times, [50, 99]))
    return {
        "asked": len(times),
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(times),
        "inference_s": INFERENCE_S,
    }


def _ask_health(port: int) -> float:
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"/healthz answers {response.status}")
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Print the tables and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="steps that are measured of each way")
    parser.add_argument("--answers", type=int, default=3, help="of 3 s, during which the health is asked for")
    parser.add_argument("--serve", type=float, metavar="WORK_S", help="be the server")
    options = parser.parse_args()
    tune_process()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    rows = measure_overhead(options.steps)
    print(f"one step of {SIZE[1]} x {SIZE[0]} RGB-D over loopback, {options.steps} steps, in turns")
    print(
        f"{'images':<12}{'p50 ms':>9}{'p99 ms':>9}{'over p50':>10}{'over p99':>10}{'encode':>9}{'link':>9}"
        f"{'decode':>9}{'kB':>8}"
    )
    for name, row in rows.items():
        print(
            f"{name:<12}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['overhead_p50_ms']:>10.2f}"
            f"{row['overhead_p99_ms']:>10.2f}{row.get('encode_ms', 0):>9.2f}{row.get('link_ms', 0):>9.2f}"
            f"{row.get('decode_ms', 0):>9.2f}{row.get('sent_bytes', 0) / 1e3:>8.0f}"
        )
    health = measure_health(options.answers)
    print(
        f"/healthz during answers of {INFERENCE_S:.0f} s, asked {health['asked']:.0f} times: "
        f"p50 {health['p50_ms']:.1f}, p99 {health['p99_ms']:.1f}, longest {health['max_ms']:.1f} ms"
    )
    print(json.dumps({"overhead": rows, "health": health, "targets": TARGETS}))


if __name__ == "__main__":
    main()
