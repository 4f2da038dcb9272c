"""Conversations as examples: the authors' JSON with 0 to 8 images each, checked before training begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from spatialbot_policy.conversation import Turn, only_placeholders, read_entry
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.image_files import ConversationImages, read_picture
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_policy.types import FloatArray, UInt8Array
from spatialbot_training.conversation_file import ConversationFile
from spatialbot_training.examples import Example, FrameFeatures, FrameKey

_log = logging.getLogger(__name__)
_TOGETHER = 256  # conversations in one call of the tokenizer
_KEPT_FRAMES = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ConversationOptions:
    """How a file of conversations is read.

    Attributes:
        folder: where its image paths begin; None takes the file's own folder.
        images_per_frame: 2 for a tower that reads each colour image together with the depth image after it.
        max_length: tokens of one conversation; None takes the tokenizer's limit.
        captions: drop the questions' words, as the projector's alignment does.
        skip_bad: leave out what cannot be used, and list it, instead of stopping.
        weight: of these examples' losses.
    """

    folder: Path | None = None
    images_per_frame: int = 1
    max_length: int | None = None
    captions: bool = False
    skip_bad: bool = False
    weight: float = 1.0


@dataclass(frozen=True)
class Skipped:
    """An entry that was left out: its number in the file, and why."""

    entry: int
    reason: str


class ConversationExamples:
    """The conversations of one file.

    Roles, placeholders, lengths and whether the images exist are checked for the whole file at the start;
    images are decoded when a batch shows them. With `skip_bad`, a conversation whose image then turns out
    to be damaged gives way to the next one of the file, every time, so that runs stay repeatable.

    Args:
        file: JSON list of the authors' format.
        config: wording, image size and depth encoding of the checkpoint.
        processor: of the checkpoint.
        options: see `ConversationOptions`.
        on_progress: called with (entries checked, entries in all).

    Raises:
        ConversationError: an entry that cannot be used, named by file and number; with `skip_bad` only when
            none can.
    """

    def __init__(
        self,
        file: Path,
        config: ConversationConfig,
        processor: SpatialBotProcessor,
        options: ConversationOptions | None = None,
        on_progress: Progress = lambda done, total: None,
    ) -> None:
        self.file, self.config, self.processor = file, config, processor
        self.options = options or ConversationOptions()
        self._folder = self.options.folder or file.parent
        self._images = ConversationImages(config)
        self._entries = ConversationFile(file)
        self._skipped: dict[int, Skipped] = {}
        self.frame = lru_cache(maxsize=_KEPT_FRAMES)(self._frame)
        found = list(self._measure(on_progress))
        if not found:
            raise ConversationError(f"{file} holds no conversation that can be used" + self._first_reason())
        self._entry_of = np.array([entry for entry, _ in found])
        self._lengths = np.array([length for _, length in found])

    def __len__(self) -> int:
        """Number of usable conversations."""
        return len(self._entry_of)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out so far, in the order of the file."""
        return tuple(self._skipped[entry] for entry in sorted(self._skipped))

    def skipped_report(self) -> str:
        """How many entries were left out, and one line for each of them."""
        lines = [f"{self.file}: {len(self._skipped)} of {len(self._entries)} entries left out"]
        return "\n".join([*lines, *(f"  entry {item.entry}: {item.reason}" for item in self.skipped)])

    def length(self, index: int) -> int:
        """Tokens of a conversation, those of its images included."""
        return int(self._lengths[index])

    def example(self, index: int) -> Example:
        """One conversation.

        Raises:
            ConversationError: with `skip_bad`, when no conversation has images that can be decoded.
        """
        if not self.options.skip_bad:
            return self._example(int(self._entry_of[index]))
        for offset in range(len(self)):
            entry = int(self._entry_of[(index + offset) % len(self)])
            if entry in self._skipped:
                continue
            example = self._example(entry)
            if self._decodes(entry, example):
                return example
        raise ConversationError(f"no conversation of {self.file} can be used" + self._first_reason())

    def features(self, keys: Sequence[FrameKey]) -> FrameFeatures | None:
        """None: images of conversations are encoded when a batch shows them."""
        return None

    def target(self, key: FrameKey) -> FloatArray | None:
        """Conversations know nothing of where tool and objects are."""
        return None

    def _example(self, entry: int) -> Example:
        turns, frames = self._read(entry)
        try:
            encoded = self.processor.encode_turns(turns, self.config.template, self.options.max_length)
        except ConversationError as error:
            raise self._of_entry(entry, error) from error
        return Example(encoded.input_ids, encoded.labels, frames, self.options.weight)

    def _read(self, entry: int) -> tuple[tuple[Turn, ...], tuple[FrameKey, ...]]:
        """Turns and frames of an entry; the frames' files exist."""
        try:
            turns, images = read_entry(self._entries.entry(entry), self.config.max_images)
            paths = [str(self._folder / image) for image in images]
            missing = [path for path in paths if not self._exists(path)]
            if missing:
                raise ConversationError(f"there is no image {missing[0]}; check the folder of images")
            size = self.options.images_per_frame
            if len(paths) % size:
                raise ConversationError(
                    f"{len(paths)} images, but this checkpoint reads each colour image together with the "
                    "depth image after it; list them in pairs"
                )
        except ConversationError as error:
            raise self._of_entry(entry, error) from error
        frames = tuple(tuple(paths[start : start + size]) for start in range(0, len(paths), size))
        return only_placeholders(turns) if self.options.captions else turns, frames

    def _frame(self, key: FrameKey) -> tuple[UInt8Array, ...]:
        """The images of one frame at the model's size.

        Raises:
            ConversationError: a file that cannot be decoded, or colour and depth in the wrong order.
        """
        if not isinstance(key, tuple):
            raise TypeError(f"the frames of conversations are named by their files, got {key!r}")
        pictures = [read_picture(path) for path in key]
        if len(key) == 2 and [picture.ndim for picture in pictures] != [3, 2]:
            raise ConversationError(
                f"{key[0]} and {key[1]} are not a colour image and the depth image after it; list them so"
            )
        return tuple(self._images.prepare(picture, path) for picture, path in zip(pictures, key, strict=True))

    def _decodes(self, entry: int, example: Example) -> bool:
        try:
            for key in example.frames:
                self.frame(key)
        except ConversationError as error:
            self._skipped[entry] = Skipped(entry, str(error))
            _log.warning("%s, entry %d left out: %s", self.file, entry, error)
            return False
        return True

    def _measure(self, on_progress: Progress) -> Iterator[tuple[int, int]]:
        """Entries that can be used, with their lengths in tokens; the others stop this or are left out."""
        total = len(self._entries)
        for start in range(0, total, _TOGETHER):
            entries = range(start, min(start + _TOGETHER, total))
            read = {entry: turns for entry in entries for turns in self._turns(entry)}
            yield from self._count(read)
            on_progress(entries.stop, total)

    def _turns(self, entry: int) -> Sequence[tuple[Turn, ...]]:
        try:
            return [self._read(entry)[0]]
        except ConversationError as error:
            self._leave_out(entry, error)
            return []

    def _count(self, read: dict[int, tuple[Turn, ...]]) -> Iterator[tuple[int, int]]:
        template, limit = self.config.template, self.options.max_length
        try:
            rows = self.processor.encode_conversations(list(read.values()), template, limit)
            yield from ((entry, len(row.input_ids)) for entry, row in zip(read, rows, strict=True))
        except ConversationError as error:
            if len(read) == 1:
                entry = next(iter(read))
                self._leave_out(entry, self._of_entry(entry, error))
                return
            for entry, turns in read.items():  # one of them is to blame
                yield from self._count({entry: turns})

    def _leave_out(self, entry: int, error: ConversationError) -> None:
        if not self.options.skip_bad:
            raise error
        self._skipped[entry] = Skipped(entry, str(error.__cause__ or error))

    def _of_entry(self, entry: int, error: ConversationError) -> ConversationError:
        """The error with the place of its cause, and the way around it."""
        named = ConversationError(
            f"{self.file}, entry {entry}: {error} (or leave such entries out: --skip-bad)"
        )
        named.__cause__ = error
        return named

    def _first_reason(self) -> str:
        return f"; entry {self.skipped[0].entry}: {self.skipped[0].reason}" if self._skipped else ""

    @staticmethod
    @lru_cache(maxsize=1 << 20)
    def _exists(path: str) -> bool:
        return Path(path).is_file()
