"""`spatialbot VERB ...`: lists the verbs, imports the one asked for, and turns errors into one line."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from spatialbot_policy.errors import SpatialBotError

VERBS = {
    "collect": "let the scripted experts record episodes in simulation",
    "train": "train on episodes and conversations, from nothing or from given weights",
    "merge": "put what a run trained of a larger model back into that model",
    "import": "read a released SpatialBot or Bunny checkpoint",
    "export": "write a checkpoint in the released layout",
    "evaluate": "roll a policy out on unseen scenes and measure its success",
    "serve": "answer robots and openpi programs over the network with a checkpoint",
    "ask": "converse with a checkpoint about images",
    "episodes": "look at recorded episodes, mend, divide and carry them elsewhere",
    "demo": "roll out the shipped policy on a few scenes and write a report",
    "operator": "show the recorder of the graph that runs, and take its keys",
    "graph": "run camera, policy and arm without ROS 2, and look inside",
    "latency": "show where the time goes between camera and command in the graph that runs",
    "doctor": "check this machine and say how to mend what is missing",
}

# Verbs whose module cannot have their name.
MODULES = {"import": "import_checkpoint"}

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def usage() -> str:
    """The text of `spatialbot --help`."""
    verbs = "\n".join(f"  {name:<10} {summary}" for name, summary in VERBS.items())
    return (
        "usage: spatialbot [--debug] VERB ...\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n"
        "  --help     this text; `spatialbot VERB --help` for a verb\n"
        "  --version  the installed version\n"
        "  --debug    show where an error came from (also: SPATIALBOT_DEBUG=1)"
    )


def installed_version() -> str:
    """The version of the installed package, or a note that it runs from an uninstalled tree."""
    try:
        return version("spatialbot")
    except PackageNotFoundError:
        return "unknown (not installed: pip install -e .)"


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: arguments without the program's name; those of the process when None.

    Returns:
        0 for success, 2 for an error of usage or input, 130 after Ctrl-C, otherwise what the verb returns.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # `spatialbot ... | head`: the reader left. Keep the last flush at exit from failing too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _dispatch(arguments: list[str]) -> int:
    debug = os.environ.get("SPATIALBOT_DEBUG", "") not in ("", "0")
    if arguments[:1] == ["--debug"]:
        arguments, debug = arguments[1:], True
    if not arguments:
        print(usage(), file=sys.stderr)
        return EXIT_USAGE
    if arguments[0] in ("--help", "-h", "help"):
        print(usage())
        return 0
    if arguments[0] in ("--version", "-V"):
        print(f"spatialbot {installed_version()}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        return _fail(_unknown_verb(verb))
    return _run(verb, rest, debug)


def _run(verb: str, arguments: list[str], debug: bool) -> int:
    # Weights and data never come from the network at run time.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return _load(verb)(arguments)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)
    except SpatialBotError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error))
    except OSError as error:
        if error.filename is None:  # about no path of the user's
            raise
        if debug:
            traceback.print_exc()
        return _fail(
            f"{error.filename}: {error.strerror}; check that the path is right, that no file is where a "
            "directory should be, permissions and free space"
        )
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("spatialbot_"):
            raise
        return _fail(f"`spatialbot {verb}` needs the package '{error.name}'; run: pip install -e '.[sim]'")


def _load(verb: str) -> Callable[[list[str]], int]:
    # Only now: training imports torch, simulation a renderer, and `--help` should need neither.
    module = importlib.import_module(f"spatialbot_cli.{MODULES.get(verb, verb)}")
    return cast(Callable[[list[str]], int], module.main)


def _unknown_verb(verb: str) -> str:
    if verb.startswith("-"):
        return f"unknown option '{verb}'; see: spatialbot --help"
    close = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(VERBS)}"
    return f"unknown verb '{verb}'; {hint}"


def _fail(message: str, code: int = EXIT_USAGE) -> int:
    one_line = " ".join(line.strip() for line in message.splitlines())  # YAML's errors have several
    print(f"spatialbot: {one_line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
