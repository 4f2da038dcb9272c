"""`spatialbot latency`: where the time goes between the camera's stamp and the command, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from spatialbot_policy.errors import ConfigError
from spatialbot_ros import embedded
from spatialbot_ros.embedded.socket_lines import ask
from spatialbot_ros.logic.latency import STAGES, LatencyTrace


@dataclass(frozen=True)
class LatencyArguments:
    """Watch the graph that runs, ROS 2 or embedded, and print percentiles of each stage."""

    seconds: float = 10.0
    """How long to watch."""
    plot: Path | None = None
    """Write a picture of the stages over time, e.g. latency.png."""
    topic: str = "/spatialbot/latency"
    """Where policy and arm node publish their stages."""


Step = tuple[int, Mapping[str, float]]
"""Stamp of the observation in nanoseconds, and seconds by stage."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(LatencyArguments, args=argv, prog="spatialbot latency")
    trace = LatencyTrace(capacity=100_000)
    live = _from_ros if embedded.ros_is_here() else _from_embedded
    for stamp_ns, stages in live(arguments.topic, arguments.seconds):
        for stage, seconds in stages.items():
            if stage in STAGES:
                trace.add(stamp_ns, stage, round(seconds * 1e9))
    if not trace.table():
        raise ConfigError(
            f"nothing came on {arguments.topic} within {arguments.seconds:g} s; start the policy and resume "
            "the arm"
        )
    table = Table("stage", *(f"{name} ms" for name in ("p50", "p95", "p99", "max")), "steps")
    for row in trace.table():
        values = (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms)
        table.add_row(row.stage, *(f"{value:.2f}" for value in values), str(row.count))
    Console().print(table)
    if arguments.plot is not None:
        _plot(trace, arguments.plot)
        print(f"plot: {arguments.plot}")
    return 0


def _from_embedded(topic: str, seconds: float) -> Iterator[Step]:
    end = time.monotonic() + seconds
    for answer in ask(do="echo", topic=topic):
        if "message" in answer:
            message = answer["message"]
            stamp = message["header"]["stamp"]
            values = dict(zip(message["name"], message["position"], strict=True))
            yield stamp["sec"] * 10**9 + stamp["nanosec"], values
        if time.monotonic() > end:
            return


def _from_ros(topic: str, seconds: float) -> Iterator[Step]:
    from spatialbot_ros.nodes.latency_listener import listen

    yield from listen(topic, seconds)


def _plot(trace: LatencyTrace, path: Path) -> None:
    """Each stage as a coloured layer over the time of the run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    layers = [stage for stage in STAGES if stage != "total"]
    steps = sorted(trace.steps())
    times = [(stamp - steps[0][0]) / 1e9 for stamp, _ in steps]
    heights = [[step.get(stage, 0) / 1e6 for _, step in steps] for stage in layers]
    figure, axes = pyplot.subplots(figsize=(9, 4))
    axes.stackplot(times, heights, labels=layers)
    axes.set_xlabel("time of the run, s")
    axes.set_ylabel("camera stamp to command, ms")
    axes.legend(loc="upper left", ncols=4, fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
