"""`spatialbot ask`: plain conversation with a checkpoint about images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from spatialbot_policy.errors import ConversationError

if TYPE_CHECKING:
    from spatialbot_policy.inference.chat import Chat


@dataclass(frozen=True)
class AskArguments:
    """Ask a checkpoint about images, in one or in several turns; without a question it asks for them."""

    question: Annotated[str, tyro.conf.Positional] = ""
    """What to ask first; without it, and without --turns, questions are read line by line."""
    checkpoint: Path = Path("checkpoints/tiny")
    """A checkpoint that converses, or a policy."""
    image: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Image file to show before the first question; may be given several times."""
    depth: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Depth image of the --image at the same place: millimetres, 16 bits or 24 bits as RGB, PNG."""
    turns: Path | None = None
    """Text file with one further question in each line."""
    max_new_tokens: int = 512
    """Longest answer, in tokens."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""


def main(argv: list[str]) -> int:
    """Run the verb; returns 0, or 1 when an answer was stopped by --max-new-tokens."""
    arguments = tyro.cli(AskArguments, args=argv, prog="spatialbot ask")
    import torch

    from spatialbot_policy.image_files import read_depth, read_picture
    from spatialbot_policy.inference.chat import Chat

    if arguments.threads < 0:
        raise ConversationError(f"--threads must be 0 (all cores) or more, got {arguments.threads}")
    if arguments.depth and len(arguments.depth) != len(arguments.image):
        raise ConversationError(
            f"{len(arguments.image)} --image and {len(arguments.depth)} --depth; give a depth image for each "
            "image, or none"
        )
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pictures = []
    for number, image in enumerate(arguments.image):
        pictures.append(read_picture(image))
        if arguments.depth:
            pictures.append(read_depth(arguments.depth[number]))
    chat = Chat.from_checkpoint(arguments.checkpoint, arguments.device)
    chat.show(pictures)
    return _converse(chat, arguments)


def _converse(chat: Chat, arguments: AskArguments) -> int:
    """Ask and print until there is no question left."""
    interactive = not arguments.question and arguments.turns is None
    stopped = False
    for question in _questions(arguments):
        if not interactive:
            print(f"> {question}")
        answer = chat.ask(question, arguments.max_new_tokens)
        print(answer.text, flush=True)
        if not answer.complete:
            stopped = True
            print(
                f"spatialbot: the answer was stopped after {arguments.max_new_tokens} tokens; see "
                "--max-new-tokens",
                file=sys.stderr,
            )
    return 1 if stopped else 0


def _questions(arguments: AskArguments) -> Iterator[str]:
    """The questions in order; interactively until an empty line or the end of input."""
    if arguments.question:
        yield arguments.question
    if arguments.turns is not None:
        lines = arguments.turns.read_text(encoding="utf-8").splitlines()
        yield from (line for line in lines if line.strip())
    if arguments.question or arguments.turns is not None:
        return
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
