"""The directory of a checkpoint: which files make one, and a write that leaves it whole or untouched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from spatialbot_policy.errors import CheckpointError

WEIGHTS = "model.safetensors"
POLICY = "policy.yaml"
CONVERSATION = "conversation.yaml"
FILES = ("config.json", WEIGHTS, "processor_config.json", "tokenizer.json", "tokenizer_config.json")


def find_checkpoint(directory: Path) -> Path:
    """The directory that holds the checkpoint; the previous one if a save was interrupted midway.

    Raises:
        CheckpointError: there is no such directory, or it lacks a file of every checkpoint.
    """
    place = directory
    if not directory.exists() and _previous(directory).exists():
        place = _previous(directory)
    if not place.is_dir():
        raise CheckpointError(
            f"there is no checkpoint directory {directory} (in {Path.cwd()}); check the path or run training"
        )
    missing = [name for name in FILES if not (place / name).is_file()]
    if not any((place / name).is_file() for name in (POLICY, CONVERSATION)):
        missing.append(POLICY)
    if missing:
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in place.glob(pattern))
        hint = f" ({pickled[0]} is pickled and is not read; convert it to {WEIGHTS})" if pickled else ""
        raise CheckpointError(
            f"the checkpoint {directory} lacks {', '.join(missing)}{hint}; copy it whole, or save it again "
            "with spatialbot_policy.model.save_checkpoint (released weights: spatialbot import)"
        )
    return place


def replace_directory(target: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a directory beside the target and rename it there; other files there are kept.

    Raises:
        CheckpointError: the target holds something else, or it cannot be written. What was there before
            stays as it was.
    """
    if target.exists() and not _replaceable(target):
        raise CheckpointError(f"{target} exists and is no checkpoint; choose another directory or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        try:
            write(partial)
            written = [file for file in partial.iterdir() if file.is_file()]
            if target.exists():
                _keep_other_files(target, partial)
            _settle(partial, written)
            _swap(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {target}: {error}; check space and permissions"
        ) from error


def _replaceable(target: Path) -> bool:
    return target.is_dir() and ((target / "config.json").is_file() or not any(target.iterdir()))


def _keep_other_files(source: Path, partial: Path) -> None:
    """Copy what the save did not write, such as a model card, but no weights or promises of another form."""
    for item in source.iterdir():
        copy = partial / item.name
        stale = item.name.endswith((".safetensors", ".index.json")) or item.name in (POLICY, CONVERSATION)
        if copy.exists() or stale:
            continue
        if item.is_dir():
            shutil.copytree(item, copy, symlinks=True)
        else:
            shutil.copy2(item, copy, follow_symlinks=False)


def _settle(partial: Path, written: list[Path]) -> None:
    """Make the files readable as usual and bring them to the disk before the rename."""
    partial.chmod(0o755)
    for file in written:
        file.chmod(0o644)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _swap(partial: Path, target: Path) -> None:
    """Rename the new directory into its place; whatever happens, one whole checkpoint remains."""
    previous = _previous(target)
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    try:
        partial.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    shutil.rmtree(previous, ignore_errors=True)
