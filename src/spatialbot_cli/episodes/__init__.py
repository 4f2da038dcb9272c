"""`spatialbot episodes VERB ...`: looks at recorded episodes, mends them, and carries them elsewhere.

One verb per file, each a dataclass whose fields are its options and whose `run` does the work with what
`spatialbot_policy` offers; `VERBS` names them in the order people need them. What several verbs print is in
`printing`. Only the file of the verb asked for is imported, so that `list` waits for no plotting library.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Union

import tyro
from rich.console import Console

# Verb -> file and class.
VERBS = {
    "list": ("list_", "List"),
    "show": ("show", "Show"),
    "stats": ("stats", "Stats"),
    "report": ("report", "Report"),
    "view": ("view", "View"),
    "validate": ("validate", "Validate"),
    "recover": ("recover", "Recover"),
    "trim": ("trim", "Trim"),
    "relabel": ("relabel", "Relabel"),
    "remove": ("remove", "Remove"),
    "restore": ("restore", "Restore"),
    "split": ("split", "Split"),
    "merge": ("merge", "Merge"),
    "export": ("export", "Export"),
    "import": ("import_", "Import"),
}


def main(argv: list[str]) -> int:
    """Run `spatialbot episodes` with its arguments and return the exit status.

    Raises:
        SpatialBotError: the data set or episode cannot be read; the caller prints it.
    """
    prog = "spatialbot episodes"
    try:
        verb: Any
        if argv and argv[0] in VERBS:
            verb = tyro.cli(_load(argv[0]), prog=f"{prog} {argv[0]}", args=argv[1:])
        else:  # help, or an error of usage that names all verbs
            every = tuple(Annotated[_load(name), tyro.conf.subcommand(name)] for name in VERBS)
            verb = tyro.cli(Union[every], prog=prog, description=_first_line(), args=argv)  # type: ignore[call-overload]  # noqa: UP007
    except SystemExit as stop:  # tyro has printed its help or the error of usage
        return stop.code if isinstance(stop.code, int) else 0
    return int(verb.run(Console()))


def _load(name: str) -> Any:
    module, verb = VERBS[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), verb)


def _first_line() -> str:
    return (__doc__ or "").splitlines()[0]
