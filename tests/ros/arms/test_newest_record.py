"""Records in shared memory: whole or not at all."""

from __future__ import annotations

import mmap
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.arms.libfranka_link import Link, Order, Phase, State, Task
from spatialbot_ros.arms.newest_record import NewestRecord


def test_a_reader_never_sees_half_a_record() -> None:
    memory = mmap.mmap(-1, NewestRecord.size(8))
    writer, reader = NewestRecord(memory, 0, 8), NewestRecord(memory, 0, 8)
    assert reader.read() is None
    done = threading.Event()

    def write() -> None:
        for number in range(3000):
            writer.write(np.full(8, number), str(number))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while not done.is_set():
        record = reader.read()
        if record is not None:
            assert (record.numbers == record.numbers[0]).all()
            assert record.text == str(int(record.numbers[0]))
            seen.append(record.numbers[0])
    thread.join()
    assert seen == sorted(seen)
    newest = reader.read()
    assert newest is not None and newest.text == "2999"


def test_a_writer_that_stopped_in_the_middle_does_not_block_the_reader() -> None:
    memory = mmap.mmap(-1, NewestRecord.size(1))
    record = NewestRecord(memory, 0, 1)
    record.write(np.array([1.0]))
    memory[0] += 1
    assert record.read() is None


@given(
    st.sampled_from(Task),
    st.integers(0, 1000),
    st.floats(0, 1e9),
    st.lists(st.floats(-3, 3), min_size=7, max_size=7),
)
def test_orders_come_out_as_they_went_in(
    task: Task, recovery: int, written_s: float, target: list[float]
) -> None:
    link = Link(mmap.mmap(-1, Link.SIZE))
    assert link.order().task is Task.WAIT
    link.send_order(Order(task, recovery, written_s, np.array(target)))
    order = link.order()
    assert (order.task, order.recovery, order.written_s) == (task, recovery, written_s)
    assert order.target_rad.tolist() == target


@given(st.sampled_from(Phase), st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_states_come_out_as_they_went_in(phase: Phase, text: str) -> None:
    link = Link(mmap.mmap(-1, Link.SIZE))
    assert link.state() is None
    tool = np.eye(4)
    tool[:3] = np.arange(12).reshape(3, 4)
    link.send_state(State(phase, 7, 2, 4, np.arange(7.0), tool, text))
    state = link.state()
    assert state is not None
    assert (state.phase, state.tick, state.recovery, state.robot_mode) == (phase, 7, 2, 4)
    assert state.joints_rad.tolist() == list(range(7))
    assert np.array_equal(state.tool, tool)
    assert text.encode()[:512].decode(errors="replace").startswith(state.text[:100])
