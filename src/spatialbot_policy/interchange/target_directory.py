"""A directory that appears whole or not at all: written under `.partial`, renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spatialbot_policy.episodes.mcap_file import sync_directory
from spatialbot_policy.errors import InterchangeError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Give a `.partial` directory to write into; it gets the name `out` when the block ends well.

    After an error or an interruption nothing is left, and a directory that was there is never touched.

    Raises:
        InterchangeError: `out` exists, or another process writes it.
    """
    out = Path(os.path.abspath(out))
    if out.exists():
        raise InterchangeError(
            f"{out} exists; nothing is written into it: give another --out, or remove it first"
        )
    partial = out.with_name(f"{out.name}.partial")
    try:
        partial.mkdir(parents=True)
    except FileExistsError as error:
        raise InterchangeError(
            f"{partial} exists: another export writes it, or one was killed; if none runs, remove it"
        ) from error
    try:
        yield partial
        sync_directory(partial)
        if out.exists():
            raise InterchangeError(f"{out} came into being meanwhile; give another --out")
        os.rename(partial, out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno not in _NO_ROOM:
            raise
        raise InterchangeError(
            f"{out} cannot be written: {error.strerror or error}; nothing of it is left, make room or give "
            "another --out"
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(out.parent)
