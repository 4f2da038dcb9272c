"""The results of an evaluation as they come in, a line each, so that a killed evaluation can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spatialbot_policy.errors import ConfigError
from spatialbot_sim.evaluation.rollout import EpisodeResult
from spatialbot_sim.task.shift import Shift

Key = tuple[str, str, str, int]
"""Policy, shift, family, seed."""
PLAN, RESULTS = "plan.json", "results.jsonl"
NOMINAL = Shift.NONE.value


@dataclass(frozen=True)
class Entry:
    """One episode's end: a result, or the error that its last try ended with.

    Attributes:
        policy: checkpoint directory or name of a baseline.
        family: family of SpatialPickPlace, "" for other tasks.
        seed: of the scene.
        result: None after an error.
        error: the traceback or the worker's exit code, "" after a result.
        shift: how the scene differed from the nominal one.
        commit: of the code that played it, "" if unknown.
    """

    policy: str
    family: str
    seed: int
    result: EpisodeResult | None
    error: str = ""
    shift: str = NOMINAL
    commit: str = ""

    @property
    def key(self) -> Key:
        """What makes an episode the same."""
        return (self.policy, self.shift, self.family, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the files."""
        ended = asdict(self.result) if self.result else {"error": self.error}
        named = {"policy": self.policy, "shift": self.shift, "family": self.family, "seed": self.seed}
        return named | ended | {"commit": self.commit}


class EvaluationLog:
    """`plan.json` and `results.jsonl` of an output directory.

    Args:
        out: is made if need be.
        plan: plain data that says what is evaluated; goes on only where it is the same.
        fresh: forget earlier results instead of going on.

    Raises:
        ConfigError: the directory belongs to another plan, or its files cannot be read.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], fresh: bool = False) -> None:
        self._path = out / RESULTS
        self.entries: dict[Key, Entry] = {}
        plan = json.loads(json.dumps(plan))
        if fresh:
            self._path.unlink(missing_ok=True)
        elif (out / PLAN).exists():
            _check_same(out / PLAN, plan)
            self.entries = self._read()
        elif self._path.exists():
            raise ConfigError(f"{self._path} has no {PLAN} beside it; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        temporary = out / f".{PLAN}.new"
        temporary.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, out / PLAN)

    @property
    def finished(self) -> set[Key]:
        """Episodes with a result; one that ended in an error is tried again."""
        return {key for key, entry in self.entries.items() if entry.result}

    def append(self, entry: Entry) -> None:
        """Add one episode; it is on the disk when this returns."""
        self.entries[entry.key] = entry
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry.to_json()) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self) -> dict[Key, Entry]:
        """All entries; a last line that was cut short by a kill is taken away."""
        if not self._path.exists():
            return {}
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)
        entries = {}
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                entry = _entry(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise ConfigError(
                    f"line {number} of {self._path} is no result ({error}); remove it or choose another --out"
                ) from error
            entries[entry.key] = entry
        return entries


def _entry(data: dict[str, Any]) -> Entry:
    policy, error = data.pop("policy"), data.pop("error", "")
    shift, commit = data.pop("shift", NOMINAL), data.pop("commit", "")  # older results have neither
    if error:
        return Entry(policy, data["family"], data["seed"], None, error, shift, commit)
    result = EpisodeResult(**data | {"seen": tuple(data["seen"])})
    return Entry(policy, result.family, result.seed, result, shift=shift, commit=commit)


def _check_same(path: Path, plan: Mapping[str, Any]) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}; choose another --out") from error
    if not isinstance(before, dict):
        raise ConfigError(f"{path} is no plan of an evaluation; choose another --out")
    keys = [key for key in {**plan, **before} if before.get(key) != plan.get(key)]
    if keys:
        was, now = (_or_default(values, keys[0]) for values in (before, plan))
        raise ConfigError(
            f"{path.parent} holds another evaluation: {keys[0]} was {was} and now is {now}; "
            "choose another --out, or repeat the arguments to go on"
        )


def _or_default(plan: Mapping[str, Any], key: str) -> Any:
    """A value of a plan, which leaves out what has its default."""
    return plan.get(key, "the default")
