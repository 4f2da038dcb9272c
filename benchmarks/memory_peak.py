"""The most memory that a piece of work takes at one time: of the process, or of the GPU."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5), clear_refs: forget the peak of the resident memory


class PeakMemory:
    """The peak since it was made or last read; None where the system does not tell (other than Linux)."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._reset()

    def read_mb(self) -> float | None:
        """Peak in megabytes, weights and interpreter included; counting starts anew."""
        if self._cuda is not None:
            peak: float | None = torch.cuda.max_memory_allocated(self._cuda) / 1e6
        else:
            peak = _resident_peak_mb()
        self._reset()
        return peak

    def _reset(self) -> None:
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
        elif _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)


def _resident_peak_mb() -> float | None:
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    found = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(found[0][1]) * 1024 / 1e6 if found else None
