"""How a checkpoint is run: device, precision, way of decoding, compilation and threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from spatialbot_policy.errors import ConfigError

Dtype = Literal["float32", "bfloat16", "auto"]
Decoding = Literal["checkpoint", "sequential", "parallel"]


@dataclass(frozen=True)
class EngineSettings:
    """What may be chosen when a checkpoint is run; none of it changes what the checkpoint was trained for.

    Attributes:
        device: torch device, such as cpu or cuda.
        dtype: of the language model and of a pretrained tower. float32 gives exactly the tokens of a plain
            `generate`; bfloat16 is faster on large models, and near ties may fall otherwise; auto takes
            bfloat16 where `pick_dtype` says that it gains.
        decoding: "checkpoint" decodes the action as the checkpoint was trained to, "sequential" one token
            after the other, "parallel" all of them in one pass.
        compile: translate the vision tower with torch.compile, on a GPU as CUDA graphs and the step from
            token to token, too (on a CPU calling a translated step takes longer than the step). Loading takes
            a minute more; without a C++ compiler there is a `CompilationWarning`, and it runs as it is.
        threads: of torch on the CPU, for the whole process; None leaves them as they are.

    Raises:
        ConfigError: a value that is not allowed.
    """

    device: str = "cpu"
    dtype: Dtype = "float32"
    decoding: Decoding = "checkpoint"
    compile: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("dtype", get_args(Dtype)), ("decoding", get_args(Decoding))):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"'{name}' is {value!r}, allowed is one of {', '.join(allowed)}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(
                f"'threads' is {self.threads}, allowed is 1 or more; leave it out for torch's own"
            )
