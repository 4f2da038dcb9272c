"""Demonstrations as SpatialQA-E conversations: the authors' JSON, and each image once as a PNG beside it.

Every step becomes one conversation: the images of its history, newest first, the robot prompt, and the action
as the answer. A history is padded at the start of an episode by repeating the oldest step, so that its entry
names the same files several times. Depth is written as 16-bit millimetres unless a three-channel encoding is
asked for: the authors' loader and ours both encode millimetres as the checkpoint at hand needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.conversation import Role, Turn, write_entry
from spatialbot_policy.episode import DatasetConfig, EpisodeReader
from spatialbot_policy.errors import ConfigError, InterchangeError, PromptError
from spatialbot_policy.history import history_indices
from spatialbot_policy.interchange.image_bytes import DepthForm, color_png, depth_png
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.selection import Progress, no_progress, select_demos
from spatialbot_policy.interchange.steps import EpisodeSteps, Step
from spatialbot_policy.interchange.target_directory import new_directory
from spatialbot_policy.prompt import PromptStyle, build_answer, build_prompt

FILE, IMAGES = "conversations.json", "images"


@dataclass(frozen=True)
class ConversationOptions:
    """How conversations are written.

    Attributes:
        style: wording of prompt and answer.
        tokens: answers in action tokens; else in the paper's numbers, which any tokenizer reads.
        depth: form of the depth images; None writes colour only.
        cameras: in this order; none takes all of the data set.
        history: steps shown in each conversation.
        max_gap_ms: a longer pause between two steps starts the history afresh.
        indices: of the episodes; none takes all.
        only_success: leave out episodes that are not known to have succeeded.
    """

    style: PromptStyle = PromptStyle.PAPER
    tokens: bool = False
    depth: DepthForm | None = DepthForm.MILLIMETRES
    cameras: tuple[str, ...] = ()
    history: int = 4
    max_gap_ms: int = 500
    indices: tuple[int, ...] = ()
    only_success: bool = False


def export_conversations(
    directory: Path,
    out: Path,
    options: ConversationOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write the demonstrations of a data set as conversations: `conversations.json` and `images/`.

    Returns:
        what the form could not hold; also in `loss_report.json` beside the conversations.

    Raises:
        InterchangeError: `out` is taken, nothing to export, more images than a conversation holds, or depth
            that the chosen form cannot.
        EpisodeError: an episode that cannot be read.
    """
    options = options or ConversationOptions()
    report = LossReport(str(directory), "SpatialQA-E conversations")
    config, readers = select_demos(directory, options.indices, options.only_success, report)
    writer = _Writer(config, options, report)
    with new_directory(out) as root:
        with open(root / FILE, "w", encoding="utf-8") as file:
            for number, reader in enumerate(readers):
                writer.add(reader, root, file)
                on_progress(number + 1, len(readers))
            file.write("\n]\n" if writer.entries else "[]\n")
        writer.describe()
        report.save(root)
    return report


class _Writer:
    """Turns episodes into entries, and counts what their form rounds off."""

    def __init__(self, config: DatasetConfig, options: ConversationOptions, report: LossReport) -> None:
        self.options, self.report, self.entries = options, report, 0
        known = config.depth_cameras
        self.cameras = options.cameras or tuple(known)
        unknown = [name for name in self.cameras if name not in known]
        if unknown:
            raise InterchangeError(f"the data set has no camera '{unknown[0]}', only {list(known)}")
        self.depth = {name: known[name] and options.depth is not None for name in self.cameras}
        if options.depth is not None and not any(self.depth.values()):
            report.change("depth", "none of the cameras delivers it")
        self.space = _space(config)
        self._clipped = 0
        self._rounding = np.zeros(7)
        count = options.history * (len(self.depth) + sum(self.depth.values()))
        if not 1 <= count <= 8:
            raise InterchangeError(
                f"{count} images per conversation, it holds at most 8: choose one --camera, a shorter "
                "--history or --no-depth"
            )

    def add(self, reader: EpisodeReader, root: Path, file: TextIO) -> None:
        """Write the images and entries of one episode."""
        steps = EpisodeSteps(reader)
        rows = history_indices(steps.stamps, self.options.history, self.options.max_gap_ms * 1_000_000)
        name = f"{reader.info.index or 0:06d}"
        (root / IMAGES / name).mkdir(parents=True)
        for number, step in enumerate(steps):
            self._write_images(step, root, name, number)
            images = [path for row in rows[number] for path in self._paths(name, int(row))]
            entry = write_entry(self._turns(step, len(images), reader), images, f"{name}_{number:06d}")
            file.write(("[\n" if not self.entries else ",\n") + json.dumps(entry, ensure_ascii=False))
            self.entries += 1

    def _paths(self, episode: str, step: int) -> Iterator[str]:
        """Files of a step's images: by camera, colour before depth."""
        for camera, has_depth in self.depth.items():
            yield f"{IMAGES}/{episode}/{camera}_{step:06d}.png"
            if has_depth:
                yield f"{IMAGES}/{episode}/{camera}_{step:06d}_d.png"

    def _write_images(self, step: Step, root: Path, episode: str, number: int) -> None:
        data: list[bytes] = []
        for camera, has_depth in self.depth.items():
            frame = step.frames[camera]
            data.append(color_png(frame.color))
            if has_depth and self.options.depth is not None:
                if frame.depth_mm is None or not frame.depth_mm.any():
                    raise InterchangeError(
                        f"episode {episode}: camera '{camera}' has no valid depth at {step.stamp_ns} "
                        "ns; leave "
                        "the episode out with --index, or export --no-depth"
                    )
                data.append(depth_png(frame.depth_mm, self.options.depth))
        for path, content in zip(self._paths(episode, number), data, strict=True):
            (root / path).write_bytes(content)

    def _turns(self, step: Step, images: int, reader: EpisodeReader) -> list[Turn]:
        if step.action is None:
            raise InterchangeError(f"{reader.path}: the step at {step.stamp_ns} ns has no action")
        bins = self.space.to_bins(step.action)
        back = self.space.from_bins(bins).as_vector()
        error = np.abs(back - step.action.as_vector())
        bound = np.repeat([self.space.translation_bound_m, self.space.rotation_bound_rad], 3)
        inside = np.abs(step.action.as_vector()[:6]) <= bound
        self._clipped += int(not inside.all())
        self._rounding = np.maximum(self._rounding, np.append(np.where(inside, error[:6], 0.0), error[6]))
        text = "".join(self.space.to_tokens(bins)) if self.options.tokens else self.space.to_text(bins)
        try:
            question = build_prompt(step.instruction, images, self.options.style)
            return [
                Turn(Role.USER, question),
                Turn(Role.ASSISTANT, build_answer(text, self.options.style)),
            ]
        except PromptError as problem:
            raise InterchangeError(f"{reader.path}: {problem}") from problem

    def describe(self) -> None:
        """Say what was lost."""
        report, space = self.report, self.space
        report.facts |= {
            "conversations": self.entries,
            "clipped actions": self._clipped,
            "largest rounding m": float(self._rounding[:3].max()),
            "largest rounding rad": float(self._rounding[3:6].max()),
        }
        report.lose(
            "actions",
            f"{space.bins} values per dimension over +-{space.translation_bound_m:g} m and "
            f"+-{space.rotation_bound_rad:g} rad, clipped outside",
        )
        if not space.terminates:
            report.lose("terminate flag", "the data set's action space has none")
        for subject in ("stamps", "robot states", "executed actions", "transforms", "intrinsics", "outcome"):
            report.lose(subject, "conversations hold text and images only")
        if self.options.tokens:
            report.change("answers", "action tokens: only a tokenizer that has them reads them")
        if self.options.depth is None:
            report.lose("depth", "left out as asked")
        elif any(self.depth.values()):
            report.change("depth", f"PNG as '{self.options.depth}', exact")


def _space(config: DatasetConfig) -> ActionSpace:
    """The action space whose bins the answers name, as dataset.yaml has it."""
    fields: dict[str, Any] = dict(config.action_space)
    try:
        return ActionSpace(**fields)
    except (TypeError, ConfigError) as error:
        raise InterchangeError(
            f"the data set's action space {fields} cannot be written as bins ({error}); a delta_pose has "
            "translation_bound_m, rotation_bound_rad and bins"
        ) from error
