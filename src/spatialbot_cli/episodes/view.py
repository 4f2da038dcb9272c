"""`spatialbot episodes view`: looks at one episode in time, with rerun or Foxglove."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, EpisodeNumber, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.rerun_recording import write_rerun


@dataclass(frozen=True)
class View:
    """Look at one episode in time: in rerun where it is installed (pip install -e '.[viz]'), or Foxglove.

    Example: spatialbot episodes view data/pick 42
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: EpisodeNumber
    """Number of the episode."""

    out: Path | None = None
    """Where the rerun recording goes; by default episode_<index>.rrd in the current folder."""

    window: Literal["auto", "yes", "no"] = "auto"
    """Open the viewer; auto: where there is a screen."""

    def run(self, console: Console) -> int:
        """Write and open the recording, or say how to open the episode's own file."""
        reader = Dataset(self.dataset).episode(self.index)
        file = reader.path / MCAP_FILE
        hint = f"{file} opens in Foxglove as it is; a layout is in config/foxglove/episode.json"
        if find_spec("rerun") is None:
            tell(console, f"rerun is not installed (pip install -e '.[viz]'). {hint}")
            return 0
        out = self.out or Path(f"episode_{self.index:06d}.rrd")
        count = write_rerun(reader, out)
        tell(console, f"{count} messages: {out}; {hint}")
        if self.window == "yes" or (self.window == "auto" and _has_screen()):
            return subprocess.run([sys.executable, "-m", "rerun", str(out)], check=False).returncode
        tell(console, f"to look at it: rerun {out}")
        return 0


def _has_screen() -> bool:
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
