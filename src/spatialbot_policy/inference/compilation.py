"""A function translated by torch.compile, or as it is where that cannot be done."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


class CompilationWarning(UserWarning):
    """What was to be compiled runs as it is: slower, with the same answers."""


class Compiled:
    """Calls a function of tensors, translated on its first call; on a GPU it becomes a CUDA graph.

    Args:
        function: of tensors, whose shapes seldom change, to one tensor.
        name: of what it does, for the warning.
    """

    def __init__(self, function: Callable[..., Tensor], name: str) -> None:
        graphs = torch.cuda.is_available()
        self._function, self._name, self._graphs = function, name, graphs
        self._compiled: Callable[..., Tensor] | None = torch.compile(
            function, dynamic=False, mode="reduce-overhead" if graphs else None
        )

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The function's value; with a `CompilationWarning`, and for good, untranslated if need be."""
        if self._compiled is None:
            return self._function(*tensors)
        try:
            value = self._compiled(*tensors)
        except Exception as error:  # a compiler that is missing or fails raises anything
            value = self._function(*tensors)  # an error of the function itself comes again here
            self._compiled = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
            warnings.warn(
                f"{self._name} cannot be compiled ({reason}) and runs as it is; install a C++ compiler "
                "(g++), or leave the setting 'compile' out",
                CompilationWarning,
                stacklevel=2,
            )
        # A CUDA graph writes its next value into the same memory.
        return value.clone() if self._graphs else value
