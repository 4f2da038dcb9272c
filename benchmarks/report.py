"""`python -m benchmarks.report`: tables and plots of the newest results, for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = "README.md"
STAGES = {
    "encode": "#7f8c9b", "vision": "#4c78a8", "prefill": "#f2a541", "tokens": "#d1495b", "action": "#6a994e"
}  # fmt: skip
"""Stages of a step, with their colours in the plot."""
LOOP_COLUMNS = ("loop", "p50 ms", "p95 ms", "faster", "by processor time", "tokens/s", "peak MB")
NAMES = {"text": "reference loop", "tokens": "action tokens, whole vocabulary"}


def engine(figures: dict[str, Any], folder: Path) -> str:
    """Tables of a step by loop, and the plot of its stages."""
    parts = []
    for name, case in figures["cases"].items():
        plot = f"bench_engine-{name}.png"
        _plot_stages(name, case["loops"], folder / plot)
        rows = [_loop_row(loop, row, case["speed_up"][loop]) for loop, row in case["loops"].items()]
        parts += [
            f"### {name}",
            f"{case['source']}, {case['parameters'] / 1e6:.1f} M parameters; prompt of "
            f"{case['prompt_tokens']} tokens; {figures['threads']} threads on {figures['device']}. "
            f"An action as text has {case['text_tokens']} tokens in this size's tokenizer. "
            f"To be reached: {case['target']:g} x.",
            table((*LOOP_COLUMNS[:5], *STAGES, *LOOP_COLUMNS[5:]), rows),
            f"![stages of a step]({plot})",
            "Observations a second by size of the batch:",
            _throughput(case["throughput"]),
        ]
        if least := case.get("roofline_ms"):
            stages = ", ".join(f"{stage} {value:.2f}" for stage, value in least.items())
            parts.append(f"At least, by bytes and sums, in ms: {stages}")
    decoding = ", ".join(f"{name} {value:.1f} ms" for name, value in figures["decode_image_ms"].items())
    parts.append(f"Before the first stage, where a camera's 640 x 480 pictures come compressed: {decoding}.")
    return "\n\n".join(parts)


def _loop_row(loop: str, row: dict[str, Any], faster: dict[str, float]) -> list[str]:
    rate = row["tokens_per_s"]
    return [
        NAMES.get(loop, loop),
        f"{row['p50_ms']:.1f}",
        f"{row['p95_ms']:.1f}",
        f"{faster['wall']:.1f} x",
        f"{faster['cpu']:.1f} x",
        *(f"{row['stages_ms'].get(stage, 0.0):.1f}" for stage in STAGES),
        f"{rate:.0f}" if rate else "-",
        f"{row['peak_mb']:.0f}" if row["peak_mb"] else "-",
    ]


def _throughput(found: dict[str, dict[str, float]]) -> str:
    sizes = list(next(iter(found.values()), {}))
    rows = [[name, *(f"{rates[size]:.2f}" for size in sizes)] for name, rates in found.items()]
    return table(("engine", *sizes), rows)


def _plot_stages(name: str, loops: dict[str, Any], path: Path) -> None:
    """Draw one stacked bar for each loop."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 0.5 * len(loops) + 1.2))
    labels = [NAMES.get(loop, loop) for loop in loops]
    left = [0.0] * len(loops)
    for stage, color in STAGES.items():
        values = [row["stages_ms"].get(stage, 0.0) for row in loops.values()]
        axis.barh(labels, values, left=left, color=color, label=stage)
        left = [start + value for start, value in zip(left, values, strict=True)]
    for place, total in enumerate(left):
        axis.text(total, place, f" {total:.0f} ms", va="center")
    axis.invert_yaxis()
    axis.set(xlabel="milliseconds for one step, by stage", title=name, xlim=(0, 1.18 * max(left)))
    axis.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def serving(figures: dict[str, Any], folder: Path) -> str:
    """What a server costs by the way of the images, and its health."""
    rows = [
        [
            name,
            *(f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms", "overhead_p50_ms", "overhead_p99_ms")),
            *(f"{row[key]:.2f}" if key in row else "-" for key in ("encode_ms", "link_ms", "decode_ms")),
            f"{row['sent_bytes'] / 1e3:.0f}" if "sent_bytes" in row else "-",
        ]
        for name, row in figures["overhead"].items()
    ]
    header = ("images", "p50 ms", "p99 ms", "over, p50", "over, p99", "encode", "network", "decode", "kB")
    health, target = figures["health"], figures["targets"]
    return "\n\n".join([
        "640 x 480 RGB-D over loopback, the server in a process of its own; `over` is what is above the "
        f"median of the local call (to be reached: {target['overhead_p50_ms']:g} ms, p99 "
        f"{target['overhead_p99_ms']:g} ms).",
        table(header, rows),
        f"`/healthz` on new connections during answers of {health['inference_s']:g} s, asked "
        f"{health['asked']} times: p50 {health['p50_ms']:.1f} ms, p99 {health['p99_ms']:.1f} ms, longest "
        f"{health['max_ms']:.1f} ms (to be reached: {target['health_max_ms']:g} ms).",
    ])  # fmt: skip


def chunks(figures: dict[str, Any], folder: Path) -> str:
    """A slow policy with one step and with several."""
    rows = [
        [
            f"{row['latency_ms']} ms",
            str(row["horizon"]),
            f"{row['seconds']:.1f}",
            f"{row['standing_percent']:.0f} %",
            str(row["stops"]),
            f"{row['mean_speed_m_s']:.3f}",
            f"{row['rms_acceleration_m_s2']:.2f}",
        ]
        for row in figures["rows"]
    ]
    header = ("latency", "steps of an answer", "seconds", "standing", "stops", "mean m/s", "rms m/s2")
    return "\n\n".join([
        f"One way at {figures['control_hz']:g} Hz control, in simulated time, through schedule and guard:",
        table(header, rows),
    ])  # fmt: skip


def loading(figures: dict[str, Any], folder: Path) -> str:
    """A training sample from the cache and from recordings."""
    rows = [
        [
            size,
            *(f"{row[key]:.2f}" for key in ("cache_ms", "messages_by_index_ms", "whole_episode_ms")),
            f"{row['faster_than_messages_by_index']:.0f} x, {row['faster_than_whole_episode']:.0f} x",
            *(f"{row[key]:.2f}" for key in ("cache_from_disk_ms", "messages_by_index_from_disk_ms")),
        ]
        for size, row in figures["cases"].items()
    ]
    header = (
        "pictures",
        "cache ms",
        "by index ms",
        "whole ms",
        "faster",
        "cache from disk",
        "by index from disk",
    )
    return "\n\n".join([
        "Random samples of four RGB-D frames, in one process: from the training cache, by finding their "
        "messages with the file's index, and by decoding the whole episode. To be reached against decoding: "
        f"{figures['target']} x. Disk: the system was told to forget the files.",
        table(header, rows),
    ])  # fmt: skip


def dataset_index(figures: dict[str, Any], folder: Path) -> str:
    """Commands on a large data set, the first time and by its index."""
    rows = [[name.replace("_", " "), f"{value:.2f}"] for name, value in figures["seconds"].items()]
    return "\n\n".join([
        f"{figures['episodes']} episodes of {figures['steps']} steps; commands in a process of their own, "
        f"with its start. To be reached by list and stats after the first time: {figures['target_s']:g} s. "
        f"The index has {figures['index_mb']:.1f} MB.",
        table(("what", "seconds"), rows),
    ])  # fmt: skip


def recorder(figures: dict[str, Any], folder: Path) -> str:
    """Two cameras into the recorder, and what each way to keep a picture costs."""
    cases = [
        [
            name,
            f"{row['sent']}",
            f"{row['lost']}",
            f"{row['core']:.2f}",
            f"{row['rss_mb']:.0f}",
            f"{row['rss_growth_mb']:+.1f}",
            f"{row['disk_mb_s']:.1f}",
        ]
        for name, row in figures["cases"].items()
    ]
    ways = [
        [way["name"], f"{way['cpu_ms']:.2f}", f"{way['bytes'] / 1e3:.0f}", f"{way['core']:.3f}"]
        for way in figures["codecs"]["ways"]
    ]
    header = ("colour + depth", "sent", "lost", "core", "MB", "growth, MB", "disk, MB/s")
    return "\n\n".join([
        f"Two 640 x 480 RGB-D cameras at 30 Hz for {figures['seconds']:g} s on the {figures['graph']} graph; "
        f"`core` is the recorder's share (to be kept: {figures['target_core']:g}).",
        table(header, cases),
        "A picture, one thread; `core` is that of 60 pictures a second:",
        table(("way", "cpu ms", "kB", "core"), ways),
    ])  # fmt: skip


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any], Path], str]]] = {
    "bench_engine": ("A step of the engine", engine),
    "bench_serving": ("A policy server", serving),
    "bench_chunks": ("Answers of several steps", chunks),
    "bench_recorder": ("The recorder", recorder),
    "bench_loading": ("Training samples", loading),
    "bench_dataset_index": ("A large data set", dataset_index),
}


def write(folder: Path = RESULTS) -> Path | None:
    """Write tables and plots beside the results; None where there is nothing to tell.

    Args:
        folder: with the JSON files of benchmarks.
    """
    parts = []
    for name, (title, section) in SECTIONS.items():
        file = folder / f"{name}.json"
        if file.is_file():
            data = json.loads(file.read_text(encoding="utf-8"))
            machine = ", ".join(f"{key} {value}" for key, value in data["machine"].items())
            parts += [f"## {title}", f"`python -m benchmarks {name.removeprefix('bench_')}`; {machine}."]
            parts.append(section(data["figures"], folder))
    if not parts:
        return None
    page = folder / PAGE
    intro = "Written by `make bench` from the JSON files here, which hold all figures."
    page.write_text("\n\n".join(["# Results of the benchmarks", intro, *parts]) + "\n", encoding="utf-8")
    return page


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(write() or "no results yet; run `make bench`")
