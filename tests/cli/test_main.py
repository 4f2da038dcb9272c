"""The command line's entry: listing, suggestions, and errors as one line with the right exit status."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from spatialbot_cli import main as cli
from spatialbot_policy.errors import EpisodeError


def install_verb(monkeypatch: pytest.MonkeyPatch, verb: str, behaviour) -> None:
    module = ModuleType(f"spatialbot_cli.{verb}")
    module.main = behaviour
    monkeypatch.setitem(sys.modules, f"spatialbot_cli.{verb}", module)


def raising(error: BaseException):
    def behaviour(argv: list[str]) -> int:
        raise error

    return behaviour


@pytest.fixture(autouse=True)
def no_debug(monkeypatch):
    monkeypatch.delenv("SPATIALBOT_DEBUG", raising=False)


def test_help_lists_every_verb_with_its_summary(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb, summary in cli.VERBS.items():
        assert f"{verb} " in out and summary in out


def test_without_a_verb_usage_goes_to_stderr(capsys):
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "usage: spatialbot" in captured.err


def test_version_is_that_of_package_xml(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"spatialbot {cli.installed_version()}"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("evalute", "did you mean 'evaluate'"),
        ("docter", "did you mean 'doctor'"),
        ("zzz", "choose from collect"),
        ("--verbose", "spatialbot --help"),
    ],
)
def test_unknown_verb_gets_a_suggestion(capsys, given, hint):
    assert cli.main([given]) == 2
    assert hint in capsys.readouterr().err


def test_verb_gets_its_arguments_and_gives_the_exit_status(monkeypatch):
    seen: list[list[str]] = []
    install_verb(monkeypatch, "episodes", lambda argv: seen.append(argv) or 7)
    assert cli.main(["episodes", "list", "--json"]) == 7
    assert seen == [["list", "--json"]]


def test_spatialbot_error_is_one_line_without_traceback(monkeypatch, capsys):
    install_verb(monkeypatch, "episodes", raising(EpisodeError("episode 3 is truncated; run recover")))
    assert cli.main(["episodes"]) == 2
    assert capsys.readouterr().err == "spatialbot: episode 3 is truncated; run recover\n"


@pytest.mark.parametrize("by_environment", [True, False])
def test_debug_adds_the_traceback(monkeypatch, capsys, by_environment):
    install_verb(monkeypatch, "episodes", raising(EpisodeError("episode 3 is truncated")))
    if by_environment:
        monkeypatch.setenv("SPATIALBOT_DEBUG", "1")
    assert cli.main(["episodes"] if by_environment else ["--debug", "episodes"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("spatialbot: episode 3 is truncated\n")


def test_keyboard_interrupt_is_130(monkeypatch, capsys):
    install_verb(monkeypatch, "train", raising(KeyboardInterrupt()))
    assert cli.main(["train"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_missing_simulator_names_the_extra(monkeypatch, capsys):
    error = ModuleNotFoundError("No module named 'mani_skill'", name="mani_skill")
    install_verb(monkeypatch, "collect", raising(error))
    assert cli.main(["collect"]) == 2
    err = capsys.readouterr().err
    assert "'mani_skill'" in err and "pip install -e '.[sim]'" in err


def test_a_bug_is_not_hidden(monkeypatch):
    install_verb(monkeypatch, "train", raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["train"])


def test_help_imports_neither_torch_nor_the_simulator():
    script = (
        "import sys; from spatialbot_cli.main import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sapien', 'mani_skill', 'cv2')))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()


def test_a_path_that_cannot_be_used_is_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    install_verb(monkeypatch, "collect", lambda argv: (tmp_path / "file" / "out").mkdir(parents=True))
    assert cli.main(["collect"]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "file") in err and "permissions" in err and err.count("\n") == 1


def test_an_error_of_the_system_about_no_path_is_not_hidden(monkeypatch):
    install_verb(monkeypatch, "train", raising(OSError("a bug")))
    with pytest.raises(OSError, match="a bug"):
        cli.main(["train"])


def test_a_message_of_several_lines_becomes_one(monkeypatch, capsys):
    install_verb(monkeypatch, "train", raising(EpisodeError("not valid:\n  line 1\n    ^; mend it")))
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err == "spatialbot: not valid: line 1 ^; mend it\n"


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m spatialbot_cli.main --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and result.stderr == ""
