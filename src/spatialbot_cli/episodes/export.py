"""`spatialbot episodes export`: a data set in a form that other tools read and train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, progress, tell
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.image_bytes import DepthForm
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.selection import Progress
from spatialbot_policy.prompt import PromptStyle

# Options that some targets alone have, by the name of the field.
_ONLY = {
    "color": ("lerobot",),
    "quality": ("lerobot",),
    "no_depth": ("spatialqa",),
    "prompt": ("spatialqa",),
    "action_tokens": ("spatialqa",),
    "camera": ("spatialqa",),
    "history": ("spatialqa",),
    "max_gap_ms": ("spatialqa",),
}


@dataclass(frozen=True)
class Export:
    """Write demonstrations for other tools: LeRobot v3, SpatialQA-E conversations or Hugging Face Parquet.

    What the target cannot hold is printed, and kept as loss_report.json beside the result.

    Example: spatialbot episodes export data/pick --to lerobot --out data/pick-lerobot
    """

    dataset: DatasetPath
    """Folder of the data set."""

    to: Literal["lerobot", "spatialqa", "parquet"]
    """The form to write."""

    out: Path
    """New folder; nothing is written into one that is there."""

    index: tuple[int, ...] = ()
    """Only these episodes."""

    only_success: bool = False
    """Leave out episodes that are not known to have succeeded."""

    depth: Annotated[DepthForm | None, tyro.conf.EnumChoicesFromValues] = None
    """Form of depth images: 16-bit millimetres (spatialqa, parquet), or three channels as the paper, the
    released checkpoints or a 24-bit number (lerobot: paper unless said otherwise). All are lossless."""

    color: Literal["video", "image"] | None = None
    """lerobot: colour as H.264 video, which loses a little, or as PNG, which does not; video if left out."""

    quality: int | None = None
    """lerobot: rate factor of the video, 0 (best) to 51; 18 if left out."""

    no_depth: bool = False
    """spatialqa: colour images alone."""

    prompt: Annotated[PromptStyle | None, tyro.conf.EnumChoicesFromValues] = None
    """spatialqa: wording of prompt and answer; as the paper prints it if left out."""

    action_tokens: bool = False
    """spatialqa: answers in action tokens instead of numbers; only a tokenizer that has them reads them."""

    camera: tuple[str, ...] = ()
    """spatialqa: only these cameras; a conversation holds eight images."""

    history: int | None = None
    """spatialqa: steps shown in each conversation; 4 if left out."""

    max_gap_ms: int | None = None
    """spatialqa: a longer pause between two steps starts the history afresh; 500 if left out."""

    def run(self, console: Console) -> int:
        """Export, and say what was lost."""
        for name, targets in _ONLY.items():
            if getattr(self, name) not in (None, False, ()) and self.to not in targets:
                option = name.replace("_", "-")
                raise InterchangeError(f"--{option} belongs to --to {' or '.join(targets)}; leave it out")
        with progress(console, "exporting") as report:
            losses = self._export()(report)
        tell(console, losses.to_text())
        tell(console, f"written: {self.out}")
        return 0

    def _export(self) -> Callable[[Progress], LossReport]:
        """The work as a function of what reports progress; only its own libraries are imported."""
        chosen: dict[str, Any] = {"indices": self.index, "only_success": self.only_success}
        chosen |= _given(depth=self.depth)
        if self.to == "lerobot":
            from spatialbot_policy.interchange.lerobot_export import LeRobotOptions, export_lerobot

            video = _given(quality=self.quality, video=None if self.color is None else self.color == "video")
            lerobot = LeRobotOptions(**chosen, **video)
            return lambda report: export_lerobot(self.dataset, self.out, lerobot, report)
        if self.to == "parquet":
            from spatialbot_policy.interchange.parquet_export import ParquetOptions, export_parquet

            parquet = ParquetOptions(**chosen)
            return lambda report: export_parquet(self.dataset, self.out, parquet, report)
        from spatialbot_policy.interchange.conversations_export import (
            ConversationOptions,
            export_conversations,
        )

        if self.no_depth:
            chosen["depth"] = None
        talk = _given(style=self.prompt, history=self.history, max_gap_ms=self.max_gap_ms)
        talk |= {"tokens": self.action_tokens, "cameras": self.camera}
        conversations = ConversationOptions(**chosen, **talk)
        return lambda report: export_conversations(self.dataset, self.out, conversations, report)


def _given(**values: Any) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of what they go to."""
    return {name: value for name, value in values.items() if value is not None}
