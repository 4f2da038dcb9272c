"""A camera's own stamps on the host's clock: without a step back, and without drifting away."""

from __future__ import annotations

DRIFT = 20_000
"""The offset may grow by one part in this many: 50 ppm, more than two quartz clocks ever differ."""


class CameraClock:
    """Maps stamps of a camera's clock to the clock of their arrival.

    A frame arrives later than it was taken by a delay that varies; the smallest difference seen is the
    nearest to the truth. It may creep up slowly, so that a camera whose clock is slow is followed as well.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._camera_ns = 0
        self._last_ns = -1

    def host_ns(self, camera_ns: int, arrival_ns: int) -> int:
        """Stamp on the host's clock.

        Args:
            camera_ns: on the camera's clock.
            arrival_ns: when the frame arrived, on the host's clock.

        Returns:
            nanoseconds that increase from call to call and do not lie after the arrival, unless the camera's
            stamps stand still.
        """
        seen_ns = arrival_ns - camera_ns
        restarted = camera_ns < self._camera_ns  # the camera's clock began anew
        if self._offset_ns is None or restarted:
            self._offset_ns = seen_ns
        else:
            creep_ns = (camera_ns - self._camera_ns) // DRIFT
            self._offset_ns = min(self._offset_ns + creep_ns, seen_ns)
        self._camera_ns = camera_ns
        self._last_ns = max(camera_ns + self._offset_ns, self._last_ns + 1)
        return self._last_ns
