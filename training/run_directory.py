"""The directory of a training run: whose it is, the state to go on from, the log and TensorBoard events."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from spatialbot_policy.config import from_dict, to_dict
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.errors import CheckpointError
from spatialbot_training.recipe import Recipe

_log = logging.getLogger(__name__)
RECIPE_FILE = "recipe.json"
STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
PREDICTIONS_FILE = "predictions.jsonl"


class RunDirectory:
    """What one run writes: `recipe.json`, `state.pt`, `log.jsonl`, `predictions.jsonl`, `tensorboard/`.

    Beside them lie the run's results, `checkpoint/` or `adapter/`. Of several processes one writes it. A
    kill at any moment leaves the state of the last save, whole; what was logged after it is dropped when the
    run goes on, because those steps are taken again.

    Args:
        path: the directory; made when it is missing.
        recipe: of the run; a directory that has saved the state of another recipe is refused.

    Raises:
        CheckpointError: a run of another recipe, a run that another process works on, or no directory.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        text = json.dumps(to_dict(recipe), indent=2, default=str, sort_keys=True)
        with self._writing("the run"):
            path.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._check(recipe)
            self._tidy()
            _replace(path / RECIPE_FILE, text)
        self._writer: SummaryWriter | None = None

    def _lock(self) -> None:
        """Hold the directory until `close`, or until this process ends in any way."""
        busy = CheckpointError(
            f"another process is training in {self.path}; wait for it, end it, or choose another --out"
        )
        lock = FileLock(self.path / ".lock", busy=lambda holder: busy)
        self._release = weakref.finalize(self, lock.release)

    def _check(self, recipe: Recipe) -> None:
        known = self.path / RECIPE_FILE
        begun = any((self.path / name).exists() for name in (STATE_FILE, CHECKPOINT, ADAPTER))
        if begun and known.is_file() and _read_recipe(known) != recipe:
            mark = hashlib.sha256(known.read_bytes()).hexdigest()[:8]
            self._release()
            raise CheckpointError(
                f"{self.path} holds a run of another recipe ({mark}, see {known}); choose another --out, or "
                "give the same recipe to go on with that run"
            )

    def _tidy(self) -> None:
        """Remove what a kill left half written."""
        partial = (f".{CHECKPOINT}.partial-*", f".{ADAPTER}.partial-*", f".{STATE_FILE}")
        for pattern in (*partial, ".*.tmp", "*.part.png"):
            for left in self.path.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state in one step, after everything that was logged before it.

        Raises:
            CheckpointError: it cannot be written; the state saved before it is kept.
        """
        temporary = self.path / f".{STATE_FILE}"
        with self._writing(f"the state of step {state['step']}"):
            if self._writer is not None:
                self._writer.flush()
            try:
                with open(temporary, "wb") as file:
                    torch.save(dict(state), file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path / STATE_FILE)
            finally:
                temporary.unlink(missing_ok=True)

    def start_log(self, step: int) -> None:
        """Open the logs to go on after a step; what is in them beyond it is dropped."""
        with self._writing("the log"):
            for path in (self.path / LOG_FILE, self.path / PREDICTIONS_FILE):
                if path.is_file():
                    _replace(path, "".join(_lines_until(path.read_text(encoding="utf-8"), step)))
            self._writer = SummaryWriter(self.path / "tensorboard", purge_step=step + 1)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Add figures of a step to `log.jsonl`, the TensorBoard events and this process's log.

        Raises:
            CheckpointError: they cannot be written.
        """
        line = json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}})
        with self._writing(f"the log of step {step}"):
            for name, value in values.items():
                if self._writer is not None:
                    self._writer.add_scalar(name, value, step)
            with open(self.path / LOG_FILE, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        _log.info("step %d: %s", step, {name: round(value, 4) for name, value in values.items()})

    def record_predictions(self, step: int, rows: Sequence[Mapping[str, str]]) -> None:
        """Add what the model says now, beside what it should say, to `predictions.jsonl` and the events.

        Raises:
            CheckpointError: they cannot be written.
        """
        with (
            self._writing(f"the predictions of step {step}"),
            open(self.path / PREDICTIONS_FILE, "a", encoding="utf-8") as file,
        ):
            for number, row in enumerate(rows):
                file.write(json.dumps({"step": step, **row}) + "\n")
                if self._writer is not None:
                    text = "\n\n".join(f"**{name}**: {value}" for name, value in row.items())
                    self._writer.add_text(f"predictions/{number}", text, step)

    def close(self) -> None:
        """Finish the events and let other processes have the directory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._release()

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise CheckpointError(
                f"cannot write {what} in {self.path}: {error}; check space and permissions, then start again "
                "with the same recipe to go on from the last saved state"
            ) from error


def load_state(directory: Path) -> dict[str, Any] | None:
    """The state that a run goes on from; None in a new one.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = directory / STATE_FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is damaged or no state of a run; remove it to train from step 0, or choose another --out"
        ) from error
    return state


def _read_recipe(path: Path) -> Recipe | None:
    """A run's recipe, newer fields at their defaults; None when it is damaged."""
    try:
        return from_dict(Recipe, json.loads(path.read_text(encoding="utf-8")), str(path))
    except ValueError:
        return None


def _lines_until(text: str, step: int) -> Iterator[str]:
    """Whole lines of a log up to a step; a line that a kill cut off is left out."""
    for line in text.splitlines(keepends=True):
        try:
            known = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
        if known <= step and line.endswith("\n"):
            yield line


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
