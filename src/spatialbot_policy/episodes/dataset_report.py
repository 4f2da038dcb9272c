"""A data set as one HTML page: statistics, and a section for each episode; it needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.depth_picture import colourise
from spatialbot_policy.episodes.dataset import Dataset
from spatialbot_policy.episodes.dataset_index import Entry, Listing, Progress
from spatialbot_policy.episodes.dataset_stats import DatasetStatistics, seconds_of, summarise
from spatialbot_policy.episodes.labels import marks, outcome_word
from spatialbot_policy.episodes.pictures import sample_pictures
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.episodes.report_page import PAGE, bars, curves, table
from spatialbot_policy.episodes.stats import Bounds, bounds_of, dimension_bounds, read_commands
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import UInt8Array

_PICTURES = 5  # of each camera of an episode
_WIDTH = 160  # pixels of a thumbnail
_ROWS = 50  # of a table of counts
_QUALITY = 75  # of its JPEG


def write_report(
    dataset: Dataset,
    listing: Listing,
    path: Path,
    thumbnails: int,
    on_progress: Progress = lambda done, total: None,
) -> int:
    """Write the page.

    Args:
        dataset: what it is about.
        listing: of it, made with statistics.
        path: of the HTML file.
        thumbnails: episodes that get pictures and curves, spread evenly; each takes some 50 kB.
        on_progress: called with (episodes drawn, episodes to draw).

    Returns:
        size of the file in bytes.

    Raises:
        EpisodeError: the file cannot be written.
    """
    if thumbnails < 0:
        raise EpisodeError(f"--thumbnails {thumbnails} is no number of episodes; 0 draws none")
    bounds = bounds_of(dataset.info.action_space)
    entries = listing.entries
    drawn = _spread(entries, thumbnails)
    sections = []
    done = 0
    for entry in entries:
        content = ""
        if entry.index in drawn:
            content = _drawing(dataset, entry, bounds)
            done += 1
            on_progress(done, len(drawn))
        sections.append(_section(entry, content))
    damaged = "".join(f"<p class=bad>{escape(reason)}</p>" for reason in listing.damaged.values())
    name = escape(dataset.directory.resolve().name)
    text = PAGE.format(
        title=name,
        summary=_summary(summarise(entries, bounds)) + damaged,
        count=len(entries),
        episodes="\n".join(sections),
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EpisodeError(f"{path} cannot be written ({error}); pass another --out") from error
    return len(text.encode())


def _spread(entries: Sequence[Entry], count: int) -> set[int]:
    if count == 0 or not entries:
        return set()
    rows = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    return {entries[row].index for row in rows}


def _summary(found: DatasetStatistics) -> str:
    facts = (
        f"<p>{found.episodes} episodes, {found.steps} steps, {found.seconds / 3600:.2f} h, "
        f"{found.megabytes:.1f} MB; lengths {found.seconds_range[0]:.1f} to {found.seconds_range[1]:.1f} s, "
        f"median {found.seconds_median:.1f} s</p>"
    )
    counters: Mapping[str, dict[str, int]] = {
        "outcomes": found.outcomes,
        "relations": found.relations,
        "families": found.families,
        "instructions": found.instructions,
    }
    tables = "".join(
        table((name, "episodes"), list(counts.items())[:_ROWS]) for name, counts in counters.items()
    )
    actions = "".join(
        f"<figure><figcaption>{item.name}: {item.mean:.4f} &plusmn; {item.deviation:.4f}, "
        f"{item.saturated:.1%} at a bound</figcaption>{bars(item.histogram, item.low, item.high)}</figure>"
        for item in found.dimensions
    )
    streams = table(
        ("topic", "episodes", "messages", "Hz", "longest gap in ms", "missing"),
        [
            (
                item.topic,
                item.episodes,
                item.messages,
                "" if item.slowest_hz is None else f"{item.slowest_hz:.1f} to {item.fastest_hz:.1f}",
                "" if item.gap_episode is None else f"{item.longest_gap_ms:.0f} (episode {item.gap_episode})",
                item.missing,
            )
            for item in found.streams
        ],
    )
    return f"{facts}<div class=row>{tables}</div><div class=row>{actions}</div>{streams}"


def _section(entry: Entry, content: str) -> str:
    info = entry.info
    words = [*marks(info), *(["damaged"] if entry.problem else [])]
    head = (
        f"<b>{entry.index:06d}</b> {escape(info.instruction)} "
        f"<span class='tag {escape(outcome_word(info))}'>{escape(outcome_word(info))}</span>"
        f"<span class=tag>{escape(relation_of(info))}</span>"
        + "".join(f"<span class='tag mark'>{escape(word)}</span>" for word in words)
    )
    note = f"<p>{escape(str(info.extra['note']))}</p>" if info.extra.get("note") else ""
    facts = table(
        ("task", "family", "seed", "kind", "steps", "seconds", "MB"),
        [
            (
                info.task,
                info.family,
                info.seed,
                info.kind,
                info.steps,
                f"{seconds_of(entry):.1f}",
                f"{info.mcap_bytes / 1e6:.2f}",
            )
        ],
    )
    opened = " open" if content else ""
    return f"<details{opened}><summary>{head}</summary>{note}{facts}{content}</details>"


def _drawing(dataset: Dataset, entry: Entry, bounds: Bounds) -> str:
    """Thumbnails and curves of one episode, or why there are none."""
    reader = dataset.episode(entry.index)
    try:
        strips = []
        for camera, pictures in sample_pictures(reader, _PICTURES).items():
            strips.append(_image(np.concatenate(pictures.color, axis=1), len(pictures.color), camera))
            if pictures.depth_mm is not None:
                depth = np.concatenate(colourise(pictures.depth_mm), axis=1)
                strips.append(_image(depth, len(pictures.color), f"{camera} depth"))
        stamps, vectors = read_commands(reader.path, reader.info)
    except EpisodeError as error:
        return f"<p class=bad>{escape(str(error))}</p>"
    if len(stamps) == 0:
        return "".join(strips)
    lines = [
        (name, (values - low) / (high - low))
        for name, values, (low, high) in zip(ACTION_NAMES, vectors.T, dimension_bounds(bounds), strict=True)
    ]
    return "".join(strips) + curves((stamps - stamps[0]) / 1e9, lines)


def _image(strip: UInt8Array, count: int, name: str) -> str:
    scale = _WIDTH * count / strip.shape[1]
    if scale < 1:
        size = (_WIDTH * count, max(round(strip.shape[0] * scale), 1))
        strip = np.asarray(cv2.resize(strip, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    blue_first = cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    text = base64.b64encode(data.tobytes()).decode()
    label = escape(name)
    return f'<img loading=lazy alt="{label}" title="{label}" src="data:image/jpeg;base64,{text}">'
