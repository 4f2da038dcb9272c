"""Weights as others wrote them: one file, shards with an index, pickles only where the user named them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from spatialbot_policy.errors import CheckpointError

INDEX = ".index.json"
Tensors = dict[str, Tensor]


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: no such file, or something else in it.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {file}: {error}; check the path, or copy it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} holds no JSON object; copy it again")
    return data


def read_vocabulary(file: Path) -> dict[str, int]:
    """The tokens of a tokenizer.json and their ids.

    Raises:
        CheckpointError: no such file, or something else in it.
    """
    try:
        return dict(Tokenizer.from_file(str(file)).get_vocab())
    except Exception as error:  # the tokenizers library raises nothing more exact
        raise CheckpointError(f"cannot read {file}: {error}; copy it again") from error


class WeightReader:
    """Reads weight files, and keeps account of the pickles that the user allowed.

    A pickle can run any code when it is loaded. One is therefore opened only if the user named that very
    file, and even then torch is told to take tensors alone.

    Args:
        allow_pickle: files that may be opened although they are pickles.

    Raises:
        CheckpointError: an allowed file does not exist.
    """

    def __init__(self, allow_pickle: Iterable[str | Path] = ()) -> None:
        self._allowed = {Path(path).resolve() for path in allow_pickle}
        self._read: set[Path] = set()
        for path in sorted(self._allowed):
            if not path.is_file():
                raise CheckpointError(f"--allow-pickle names {path}, which is no file; check the path")

    def check_all_used(self) -> None:
        """Refuse permission that nothing needed: it was meant for another file.

        Raises:
            CheckpointError: a pickle was allowed that was not read.
        """
        unused = sorted(str(path) for path in self._allowed - self._read)
        if unused:
            raise CheckpointError(
                f"--allow-pickle names {', '.join(unused)}, but the import does not read that; name the file "
                "that was refused, or leave the option out"
            )

    def directory(self, directory: Path) -> Tensors:
        """All tensors of a model's directory: model.safetensors or its shards, else pytorch_model.bin.

        Raises:
            CheckpointError: there is no such file, a shard is missing or does not hold what the index says,
                or a pickle was not allowed.
        """
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (directory / name).is_file():
                return self.file(directory / name)
            if (directory / (name + INDEX)).is_file():
                return self._shards(directory / (name + INDEX))
        raise CheckpointError(
            f"{directory} holds no weights (model.safetensors, or shards with model.safetensors{INDEX}); "
            "check the path, or copy it again (git lfs pull, if it came from a repository)"
        )

    def first_of(self, directory: Path, names: tuple[str, ...]) -> Tensors:
        """The tensors of the first of these files that is there.

        Raises:
            CheckpointError: none is there, or it cannot be read.
        """
        for name in names:
            if (directory / name).is_file():
                return self.file(directory / name)
        raise CheckpointError(f"{directory} lacks {' or '.join(names)}; copy it whole")

    def file(self, path: Path) -> Tensors:
        """The tensors of one file.

        Raises:
            CheckpointError: it is damaged, or a pickle that was not allowed.
        """
        if path.suffix != ".safetensors":
            return self._pickle(path)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read the weights {path}: {error}; copy the file again") from error

    def _pickle(self, path: Path) -> Tensors:
        if path.resolve() not in self._allowed:
            raise CheckpointError(
                f"{path} is a pickle, which can run any code when it is loaded; if you trust where it comes "
                f"from, add: --allow-pickle {path}"
            )
        self._read.add(path.resolve())
        try:
            data = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0][:200]
            raise CheckpointError(f"{path} holds no plain tensors: {reason}; take another file") from error
        if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
            raise CheckpointError(f"{path} holds something else than named tensors; take another file")
        return {str(name): value for name, value in data.items()}

    def _shards(self, index: Path) -> Tensors:
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise CheckpointError(f"{index} has no weight_map; copy it again")
        tensors: Tensors = {}
        for shard in sorted(set(places.values())):
            file = index.parent / str(shard)
            if file.parent != index.parent or not file.is_file():
                raise CheckpointError(f"{index} names the shard {shard}, which is not there; copy it whole")
            found = self.file(file)
            wanted = {name for name, place in places.items() if place == shard}
            if wanted != set(found):
                raise CheckpointError(
                    f"{file} and {index.name} disagree about {listed(wanted ^ set(found))}; take both from "
                    "one download"
                )
            tensors.update(found)
        return tensors


def listed(names: Iterable[str], most: int = 20) -> str:
    """The names in order, the first of them if there are many."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
