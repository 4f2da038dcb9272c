"""The operator's flow without a graph: what each verb does where, and what it says where it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import EpisodeError, RecordingError
from spatialbot_ros.logic.recording_flow import FlowSettings, Label, RecordingFlow, State

SECOND = 1_000_000_000


class FakeRecording:
    """A data set in memory that refuses on demand."""

    def __init__(self) -> None:
        self.saved: dict[int, tuple[Label, str]] = {}
        self.trash: list[int] = []
        self.open_index: int | None = None
        self.closed = False
        self.opened = 0
        self.missing = self.unsaved = self.broken = ""

    def check(self) -> None:
        if self.missing:
            raise EpisodeError(self.missing)

    def open(self, now_ns: int) -> int:
        assert self.open_index is None
        self.open_index, self.closed = max(self.saved, default=-1) + 1, False
        self.opened += 1
        return self.open_index

    def close(self, now_ns: int) -> None:
        assert self.open_index is not None and not self.closed
        self.closed = True

    def commit(self, label: Label, ended_by: str) -> str:
        assert self.open_index is not None and self.closed
        if self.unsaved:
            raise RecordingError(self.unsaved)
        index, self.open_index = self.open_index, None
        if self.broken:
            raise EpisodeError(self.broken)
        self.saved[index] = (label, ended_by)
        return f"saved episode {index}"

    def discard(self) -> None:
        assert self.open_index is not None
        self.open_index = None

    def set_aside(self, index: int) -> str:
        del self.saved[index]
        self.trash.append(index)
        return f"restore {index:06d}"


def flow_of(**values: object) -> tuple[RecordingFlow, FakeRecording]:
    recording = FakeRecording()
    return RecordingFlow(recording, FlowSettings(**values)), recording


def test_countdown_recording_review_and_saved():
    flow, recording = flow_of(countdown_s=3.0, review=True)
    assert flow.start(0) == "recording starts in 3 s"
    assert flow.tick(2 * SECOND) == "" and recording.open_index is None
    assert flow.left_s(2 * SECOND) == 1.0
    assert flow.tick(3 * SECOND) == "episode 0" and flow.state is State.RECORDING
    assert flow.elapsed_s(5 * SECOND) == 2.0
    assert flow.note("the light flickered") == "episode 0: noted"
    assert flow.save(10 * SECOND) == "episode 0 ended after 7.0 s: label it, then save"
    assert flow.state is State.REVIEW and recording.closed and flow.elapsed_s(99 * SECOND) == 7.0
    flow.failure("dropped")
    assert flow.success() == "episode 0: success; the light flickered"
    assert flow.save(20 * SECOND) == "saved episode 0"
    assert flow.state is State.IDLE and flow.index is None
    assert recording.saved == {0: (Label(True, None, ("the light flickered",)), "")}


def test_without_review_a_label_is_given_before_the_save():
    flow, recording = flow_of()
    flow.start(0)
    flow.failure("dropped")
    flow.save(SECOND)
    assert recording.saved[0][0] == Label(False, "dropped")


def test_pressing_failure_again_goes_through_its_kinds():
    flow, _ = flow_of(failure_kinds=("dropped", "timeout"))
    flow.start(0)
    kinds = []
    for _ in range(4):
        flow.failure()
        kinds.append(flow.label.failure)
    assert kinds == [None, "dropped", "timeout", "dropped"]


def test_re_record_discards_and_begins_again_with_its_countdown():
    flow, recording = flow_of(countdown_s=1.0)
    flow.start(0)
    flow.tick(SECOND)
    flow.note("first try")
    assert flow.rerecord(5 * SECOND) == "discarded episode 0; recording starts in 1 s"
    assert recording.open_index is None and flow.label == Label()
    assert flow.rerecord(5 * SECOND + 1) == "countdown cancelled; recording starts in 1 s"
    flow.tick(7 * SECOND)
    assert recording.opened == 2 and flow.state is State.RECORDING


def test_a_re_record_that_cannot_start_throws_nothing_away():
    flow, recording = flow_of()
    flow.start(0)
    recording.missing = "no camera"
    with pytest.raises(EpisodeError, match="no camera"):
        flow.rerecord(SECOND)
    assert recording.open_index == 0 and flow.state is State.RECORDING


def test_undo_takes_back_the_last_saved_episode_once():
    flow, recording = flow_of()
    for _ in range(2):
        flow.start(0)
        flow.save(SECOND)
    assert flow.undo() == "took back episode 1; to bring it back: restore 000001"
    assert list(recording.saved) == [0] and recording.trash == [1]
    with pytest.raises(RecordingError, match="nothing to undo: .* was taken back"):
        flow.undo()


def test_the_longest_episode_ends_by_itself_and_waits():
    flow, recording = flow_of(max_length_s=10.0)
    flow.start(0)
    assert flow.tick(9 * SECOND) == ""
    assert "was ended after 10.0 s: the longest episode is 10 s" in flow.tick(10 * SECOND)
    assert flow.state is State.REVIEW and flow.tick(20 * SECOND) == ""
    flow.save(30 * SECOND)
    assert recording.saved[0][1] == "the longest episode is 10 s (max_length_s)"


def test_a_save_that_is_refused_stays_in_review_and_one_that_fails_ends():
    flow, recording = flow_of()
    flow.start(0)
    recording.unsaved = "depth is missing"
    with pytest.raises(RecordingError, match="depth is missing"):
        flow.save(SECOND)
    assert flow.state is State.REVIEW
    recording.unsaved, recording.broken = "", "the disk is full"
    with pytest.raises(EpisodeError, match="the disk is full"):
        flow.save(2 * SECOND)
    assert flow.state is State.IDLE
    with pytest.raises(RecordingError, match="nothing to undo"):
        flow.undo()


def test_a_camera_that_goes_silent_in_the_countdown_cancels_it():
    flow, recording = flow_of(countdown_s=1.0)
    flow.start(0)
    recording.missing = "no camera"
    with pytest.raises(EpisodeError, match="no camera"):
        flow.tick(2 * SECOND)
    assert flow.state is State.IDLE and recording.opened == 0


def test_a_clock_that_is_set_back_in_the_countdown_counts_again():
    flow, _ = flow_of(countdown_s=1.0)
    flow.start(3600 * SECOND)
    assert flow.tick(0) == "" and flow.left_s(0) == 1.0
    assert flow.tick(SECOND) == "episode 0"


REFUSED = [
    (State.IDLE, "save", "no episode is open; call /spatialbot/recorder/start first"),
    (State.IDLE, "discard", "discard: no episode is open"),
    (State.IDLE, "rerecord", "rerecord: no episode is open"),
    (State.IDLE, "success", "success: no episode is open"),
    (State.IDLE, "note", "a note belongs to an episode, and no episode is open"),
    (State.COUNTDOWN, "start", "the countdown runs; save or discard it first"),
    (State.COUNTDOWN, "save", "nothing is recorded yet"),
    (State.COUNTDOWN, "undo", "undo: the countdown runs"),
    (State.RECORDING, "start", "episode 0 is open; save or discard it first"),
    (State.RECORDING, "undo", "undo: episode 0 is open"),
    (State.RECORDING, "success", "a label comes when it has ended"),
    (State.RECORDING, "failure", "a label comes when it has ended"),
    (State.REVIEW, "start", "episode 0 is open for review; save or discard it first"),
    (State.REVIEW, "undo", "undo: episode 0 is open for review"),
]


def bring(flow: RecordingFlow, state: State) -> None:
    if state is not State.IDLE:
        flow.start(0)
    if state in (State.RECORDING, State.REVIEW):
        flow.tick(SECOND)
    if state is State.REVIEW:
        flow.save(2 * SECOND)
    assert flow.state is state


def ask(flow: RecordingFlow, verb: str, now_ns: int) -> str:
    words = {"note": ("it was wet",), "start": (now_ns,), "save": (now_ns,), "rerecord": (now_ns,)}
    return str(getattr(flow, verb)(*words.get(verb, ())))


@pytest.mark.parametrize(("state", "verb", "words"), REFUSED)
def test_a_refused_verb_says_why_and_changes_nothing(state, verb, words):
    flow, recording = flow_of(countdown_s=1.0, review=True)
    bring(flow, state)
    before = (flow.state, flow.index, flow.label, recording.open_index, dict(recording.saved))
    with pytest.raises(RecordingError, match=words):
        ask(flow, verb, 3 * SECOND)
    assert before == (flow.state, flow.index, flow.label, recording.open_index, recording.saved)


VERBS = ("start", "save", "discard", "rerecord", "undo", "success", "failure", "note", "tick", "wait")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(VERBS), max_size=40),
    st.booleans(),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([0.0, 3.0]),
)
def test_no_sequence_of_verbs_loses_or_doubles_an_episode(verbs, review, countdown_s, max_length_s):
    flow, recording = flow_of(review=review, countdown_s=countdown_s, max_length_s=max_length_s)
    now_ns, told = 0, []
    for verb in verbs:
        now_ns += SECOND if verb == "wait" else 1
        try:
            told.append(flow.tick(now_ns) if verb in ("tick", "wait") else ask(flow, verb, now_ns))
        except RecordingError:
            continue
        writing = flow.state in (State.RECORDING, State.REVIEW)
        assert (recording.open_index is not None) == writing == (flow.index is not None)
        assert recording.closed == (flow.state is State.REVIEW) or not writing
    saves = sum(text.startswith("saved") for text in told)
    assert saves == len(recording.saved) + len(recording.trash)
