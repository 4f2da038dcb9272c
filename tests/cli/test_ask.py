"""`spatialbot ask`: one question, several turns, or a conversation line by line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialbot_cli import main as cli


class FakeChat:
    """Says how many images it has seen and what it was asked; 'long' is never finished."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def show(self, pictures: list[np.ndarray]) -> None:
        self.shapes += [picture.shape for picture in pictures]

    def ask(self, question: str, max_new_tokens: int) -> object:
        from spatialbot_policy.inference.chat import Answer

        return Answer(f"{self.shapes} {question}?", question != "long")


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    from spatialbot_policy.inference.chat import Chat

    made = FakeChat()
    monkeypatch.setattr(Chat, "from_checkpoint", lambda path, device: made)
    return made


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 6), 900, np.uint16)).save(tmp_path / "d.png")
    return ["--image", str(tmp_path / "a.png"), "--depth", str(tmp_path / "d.png")]


def test_a_question_about_colour_and_depth(chat, images, capsys):
    assert cli.main(["ask", *images, "how far is it"]) == 0
    assert capsys.readouterr().out == "> how far is it\n[(4, 6, 3), (4, 6)] how far is it?\n"


def test_several_images_are_shown_in_order(chat, images, capsys):
    assert cli.main(["ask", *images, *images, "and"]) == 0
    assert chat.shapes == [(4, 6, 3), (4, 6)] * 2


def test_turns_come_from_a_file(chat, tmp_path, capsys):
    (tmp_path / "turns.txt").write_text("two\n\nthree\n")
    assert cli.main(["ask", "one", "--turns", str(tmp_path / "turns.txt")]) == 0
    assert capsys.readouterr().out.splitlines()[::2] == ["> one", "> two", "> three"]


def test_without_a_question_lines_are_answered_until_an_empty_one(chat, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n\nthree\n"))
    assert cli.main(["ask"]) == 0
    assert capsys.readouterr().out == "[] one?\n[] two?\n"


def test_an_answer_that_was_stopped_is_told(chat, capsys):
    assert cli.main(["ask", "long", "--max-new-tokens", "7"]) == 1
    assert "stopped after 7 tokens" in capsys.readouterr().err


def test_bad_input_is_one_line_that_says_what_to_do(chat, images, tmp_path, capsys):
    assert cli.main(["ask", *images, "--image", "b.png", "x"]) == 2
    assert "2 --image and 1 --depth" in capsys.readouterr().err
    assert cli.main(["ask", "--image", str(tmp_path / "none.png"), "x"]) == 2
    assert "there is no image" in capsys.readouterr().err
    assert cli.main(["ask", "--turns", str(tmp_path / "none.txt")]) == 2
    assert "none.txt" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_named(tmp_path, capsys):
    assert cli.main(["ask", "--checkpoint", str(tmp_path / "none"), "x"]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_the_shipped_policy_answers(images, capsys):
    assert cli.main(["ask", *images, "--max-new-tokens", "4", "what now"]) in (0, 1)
    assert capsys.readouterr().out.startswith("> what now\n")
