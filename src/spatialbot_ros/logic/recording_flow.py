"""The operator's way through an episode: countdown, recording, review with labels, saved or discarded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from spatialbot_policy.errors import RecordingError, SpatialBotError
from spatialbot_ros.logic.parameter import check_parameters, parameter

VERBS = (
    "start",
    "save",
    "discard",
    "rerecord",
    "undo",
    "success",
    "failure",
    "next_task",
    "previous_task",
)
"""What an operator may ask for by a service, a button or a key."""


class State(str, Enum):
    """Where the operator is; `idle` is also where a saved and a discarded episode end."""

    IDLE = "idle"
    COUNTDOWN = "countdown"
    RECORDING = "recording"
    REVIEW = "review"

    def __str__(self) -> str:
        """The bare name."""
        return self.value


@dataclass(frozen=True)
class FlowSettings:
    """Times and habits of the operator's flow."""

    countdown_s: float = parameter(
        0.0, "time between start and the first message, s; 0 for none", low=0.0, high=60.0, live=True
    )
    max_length_s: float = parameter(
        0.0, "an episode ends by itself after this, s; 0 for never", low=0.0, high=36_000.0, live=True
    )
    review: bool = parameter(
        False, "the first save ends the recording, labels follow, the second save keeps it", live=True
    )
    failure_kinds: tuple[str, ...] = parameter(
        ("missed_grasp", "dropped", "wrong_object", "collision", "timeout", "other"),
        "kinds of failure that pressing failure again goes through",
        live=True,
    )

    def __post_init__(self) -> None:
        check_parameters(self)


@dataclass(frozen=True)
class Label:
    """What the operator says of an episode; `success` is None as long as nothing was said."""

    success: bool | None = None
    failure: str | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Describe the label for people, e.g. "failure: dropped; the lid came off"."""
        words = {None: "no label", True: "success", False: "failure"}[self.success]
        words += f": {self.failure}" if self.failure else ""
        return "; ".join((words, *self.notes))


class Recording(Protocol):
    """What the flow lets happen to the data; each may refuse with a SpatialBotError."""

    def check(self) -> None:
        """Refuse a start for which something is missing."""

    def open(self, now_ns: int) -> int:
        """Begin to write an episode; returns its index."""

    def close(self, now_ns: int) -> None:
        """Take no message from now on."""

    def commit(self, label: Label, ended_by: str) -> str:
        """Complete the closed episode; returns what to tell.

        Args:
            label: what the operator said of it.
            ended_by: why it ended other than by the operator, "" otherwise.

        Raises:
            RecordingError: not yet, for a reason the operator can do something about; nothing was changed.
            SpatialBotError, OSError: it cannot be completed; what there is stays for recovery.
        """

    def discard(self) -> None:
        """Remove the episode."""

    def set_aside(self, index: int) -> str:
        """Move a saved episode out of the data set; returns how to bring it back."""


class RecordingFlow:
    """State machine of one operator and one data set. Times are passed in, in nanoseconds.

    Every verb returns a sentence for the operator, or raises a RecordingError that says why it is refused and
    what to do instead; a refused verb changes nothing.

    Attributes:
        settings: may be replaced at any time.
        state: where the operator is.
        index: of the episode in hand; None while idle.
        label: of the episode in hand.
        ended_by: why the recording ended other than by the operator, "" otherwise.
    """

    def __init__(self, recording: Recording, settings: FlowSettings) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.index: int | None = None
        self.label = Label()
        self.ended_by = ""
        self._recording = recording
        self._since_ns = 0
        self._length_ns = 0
        self._last_saved: int | None = None

    # -- verbs

    def start(self, now_ns: int) -> str:
        """Begin an episode, after the countdown if there is one."""
        if self.state is not State.IDLE:
            raise RecordingError(f"{self._here()}; save or discard it first")
        self._recording.check()
        self.label, self.ended_by, self._since_ns = Label(), "", now_ns
        if self.settings.countdown_s > 0.0:
            self.state = State.COUNTDOWN
            return f"recording starts in {self.settings.countdown_s:g} s"
        return self._open(now_ns)

    def save(self, now_ns: int) -> str:
        """End the recording; then, or when it is called again in review, keep the episode.

        Raises:
            SpatialBotError, OSError: also what `Recording.commit` says; without a RecordingError the flow is
                idle again.
        """
        self._require_begun("save")
        if self.state is State.COUNTDOWN:
            raise RecordingError("nothing is recorded yet: the countdown runs; wait, or discard to cancel it")
        if self.state is State.RECORDING:
            self._close(now_ns)
            if self.settings.review:
                return f"episode {self.index} ended after {self._length_ns / 1e9:.1f} s: label it, then save"
        index = self.index
        try:
            told = self._recording.commit(self.label, self.ended_by)
        except RecordingError:
            raise
        except (SpatialBotError, OSError):
            self._to_idle()
            raise
        self._to_idle()
        self._last_saved = index
        return told

    def discard(self) -> str:
        """Throw the episode away, or cancel the countdown."""
        self._require_begun("discard")
        if self.state is State.COUNTDOWN:
            self._to_idle()
            return "countdown cancelled"
        index = self.index
        self._recording.discard()
        self._to_idle()
        return f"discarded episode {index}"

    def rerecord(self, now_ns: int) -> str:
        """Throw the episode away and start again with the same task."""
        self._require_begun("rerecord")
        self._recording.check()  # before anything is thrown away
        return f"{self.discard()}; {self.start(now_ns)}"

    def undo(self) -> str:
        """Take the last saved episode of this run out of the data set; it is moved, never deleted."""
        self.require_idle("undo")
        if self._last_saved is None:
            raise RecordingError(
                "nothing to undo: no episode was saved since the start, or the last one was taken back "
                "already; `spatialbot episodes remove` takes older ones"
            )
        index = self._last_saved
        how = self._recording.set_aside(index)
        self._last_saved = None
        return f"took back episode {index}; to bring it back: {how}"

    def success(self) -> str:
        """Label the episode in hand as a success."""
        self._require_labels("success")
        self.label = replace(self.label, success=True, failure=None)
        return f"episode {self.index}: {self.label}"

    def failure(self, kind: str = "") -> str:
        """Label the episode in hand as a failure.

        Args:
            kind: of the failure, in a word; "" begins without, and goes to the next kind when repeated.
        """
        self._require_labels("failure")
        kinds = self.settings.failure_kinds
        kind = kind.strip()
        if not kind and self.label.success is False and kinds:
            before = self.label.failure
            place = kinds.index(before) + 1 if before in kinds else 0
            kind = kinds[place % len(kinds)]
        self.label = replace(self.label, success=False, failure=kind or None)
        return f"episode {self.index}: {self.label}"

    def note(self, text: str) -> str:
        """Add a note to the episode in hand, while it is recorded or reviewed."""
        if self.state not in (State.RECORDING, State.REVIEW):
            raise RecordingError(f"a note belongs to an episode, and {self._here()}; start one first")
        if not text.strip():
            raise RecordingError("the note is empty; write it after the word note")
        self.label = replace(self.label, notes=(*self.label.notes, text.strip()))
        return f"episode {self.index}: noted"

    def require_idle(self, what: str) -> None:
        """Refuse what would change the task under a recording.

        Raises:
            RecordingError: an episode is in hand.
        """
        if self.state is not State.IDLE:
            raise RecordingError(f"{what}: {self._here()}; save or discard it first")

    # -- what happens by itself

    def tick(self, now_ns: int) -> str:
        """Let time pass: the end of the countdown and the longest episode; returns what to tell, or "".

        Raises:
            SpatialBotError, OSError: the recording could not begin after the countdown; the flow is idle.
        """
        if now_ns < self._since_ns and self.state is State.COUNTDOWN:
            self._since_ns = now_ns  # the clock was set back: count again rather than wait for hours
        if self.state is State.COUNTDOWN and self.left_s(now_ns) <= 0.0:
            try:
                self._recording.check()
                return self._open(now_ns)
            except (SpatialBotError, OSError):
                self._to_idle()
                raise
        limit_s = self.settings.max_length_s
        if self.state is State.RECORDING and 0.0 < limit_s <= self.elapsed_s(now_ns):
            return self.end(now_ns, f"the longest episode is {limit_s:g} s (max_length_s)")
        return ""

    def end(self, now_ns: int, why: str) -> str:
        """End a recording that cannot go on; what was recorded waits to be saved or discarded."""
        if self.state is not State.RECORDING:
            return ""
        self._close(now_ns)
        self.ended_by = why
        return (
            f"episode {self.index} was ended after {self._length_ns / 1e9:.1f} s: {why}; save or discard it"
        )

    def left_s(self, now_ns: int) -> float:
        """Seconds until the recording starts; 0 outside the countdown."""
        if self.state is not State.COUNTDOWN:
            return 0.0
        return max(0.0, self.settings.countdown_s - (now_ns - self._since_ns) / 1e9)

    def elapsed_s(self, now_ns: int) -> float:
        """Length of the episode in hand in seconds, in review that of the whole."""
        if self.state is State.RECORDING:
            return max(0, now_ns - self._since_ns) / 1e9
        return self._length_ns / 1e9 if self.state is State.REVIEW else 0.0

    # -- steps

    def _open(self, now_ns: int) -> str:
        self.index = self._recording.open(now_ns)
        self.state, self._since_ns = State.RECORDING, now_ns
        return f"episode {self.index}"

    def _close(self, now_ns: int) -> None:
        self._recording.close(now_ns)
        self._length_ns = max(0, now_ns - self._since_ns)
        self.state = State.REVIEW

    def _to_idle(self) -> None:
        self.state, self.index, self._length_ns = State.IDLE, None, 0

    def _here(self) -> str:
        return {
            State.IDLE: "no episode is open",
            State.COUNTDOWN: "the countdown runs",
            State.RECORDING: f"episode {self.index} is open",
            State.REVIEW: f"episode {self.index} is open for review",
        }[self.state]

    def _require_begun(self, verb: str) -> None:
        if self.state is State.IDLE:
            raise RecordingError(f"{verb}: no episode is open; call /spatialbot/recorder/start first")

    def _require_labels(self, verb: str) -> None:
        self._require_begun(verb)
        if self.state is State.COUNTDOWN or (self.state is State.RECORDING and self.settings.review):
            raise RecordingError(
                f"{verb}: {self._here()}, a label comes when it has ended; save ends it, then label it"
            )
