"""What a crossing between formats could not carry: collected while it runs, printed, and kept as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spatialbot_policy.episodes.info import EpisodeInfo
from spatialbot_policy.episodes.topics import (
    ACTION_TOPIC,
    EXECUTED_TOPIC,
    INSTRUCTION_TOPIC,
    JOINTS_TOPIC,
    POSE_TOPIC,
    TF_TOPIC,
)

REPORT_FILE = "loss_report.json"
_LABELS = {
    ACTION_TOPIC: "commanded actions",
    EXECUTED_TOPIC: "executed actions",
    INSTRUCTION_TOPIC: "instructions",
    JOINTS_TOPIC: "joint states",
    POSE_TOPIC: "tool poses",
    TF_TOPIC: "transforms",
}


@dataclass
class LossReport:
    """What was lost, what was changed on the way, and what else the reader should know.

    Attributes:
        source, target: what was read and what was written, in words.
        lost: subject -> what of it the target cannot hold.
        changed: subject -> how its form was changed, without loss unless it says so.
        facts: figures about the crossing, e.g. the share of clipped actions.
        beyond_steps: topic -> messages that belong to no step, summed over the episodes.
        skipped: episode -> why it was left out.
    """

    source: str
    target: str
    lost: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    beyond_steps: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)

    def lose(self, subject: str, what: str) -> None:
        """Note a loss; the same subject is noted once."""
        self.lost.setdefault(subject, what)

    def change(self, subject: str, how: str) -> None:
        """Note a change of form; the same subject is noted once."""
        self.changed.setdefault(subject, how)

    def skip(self, episode: str, why: str) -> None:
        """Note an episode that was left out."""
        self.skipped[episode] = why

    def count_messages(self, info: EpisodeInfo) -> None:
        """Count an episode's messages beyond one per step and topic, which no format of steps can hold."""
        for topic, count in info.counts.items():
            if topic != INSTRUCTION_TOPIC and count > info.steps:
                self.beyond_steps[topic] += count - info.steps

    def to_dict(self) -> dict[str, Any]:
        """Content of the JSON file."""
        lost = dict(self.lost)
        for topic, count in sorted(self.beyond_steps.items()):
            label = _LABELS.get(topic, topic)
            lost[f"rate of {topic}"] = f"{count} {label} between the steps are left out"
        return {
            "source": self.source,
            "target": self.target,
            "lost": lost,
            "changed": dict(self.changed),
            "facts": _plain(self.facts),
            "skipped": dict(self.skipped),
        }

    def to_text(self) -> str:
        """One line for each entry, for the terminal."""
        data = self.to_dict()
        lines = [f"{self.source} -> {self.target}"]
        for key in ("lost", "changed"):
            lines += [f"  {key}: {subject}: {what}" for subject, what in data[key].items()]
        reasons: dict[str, list[str]] = {}
        for episode, why in self.skipped.items():
            reasons.setdefault(why, []).append(episode)
        lines += [f"  left out: {_some(episodes)}: {why}" for why, episodes in reasons.items()]
        lines += [f"  {name}: {_short(value)}" for name, value in data["facts"].items()]
        if not data["lost"]:
            lines.append("  nothing was lost")
        return "\n".join(lines)

    def save(self, directory: Path, name: str = REPORT_FILE) -> None:
        """Write the report into a directory."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (directory / name).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _some(episodes: list[str]) -> str:
    shown = ", ".join(episodes[:3])
    return shown if len(episodes) <= 3 else f"{shown} and {len(episodes) - 3} more"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return str(value)
