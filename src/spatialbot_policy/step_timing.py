"""How long the stages of one answer took."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class StepTiming:
    """Wall time of one answer in milliseconds; what a batch did together counts in full for each member.

    Attributes:
        encode_ms: checks, depth encoding and resizing of the newest frames, and the prompt's words.
        vision_ms: tower and projector on the newest frames.
        prefill_ms: the language model on the prompt, up to the first action token.
        tokens_ms: the other action tokens, and back to motion.
        total_ms: from the call to the answer.
    """

    encode_ms: float = 0.0
    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    tokens_ms: float = 0.0
    total_ms: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """The stages by name, for tables and replies."""
        return asdict(self)
