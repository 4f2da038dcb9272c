"""Reports of a node: a latched status that changes with the state, and /diagnostics with the values."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.nodes.reporting import STATUS_QOS, Reporter

STATUS = "/spatialbot/camera/status"


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def test_each_change_is_published_once_with_its_reason(graph):
    reporter = Reporter(graph.add(Node("camera", parameter_overrides=graph.parameters())), "camera")
    seen = graph.record(DiagnosticStatus, STATUS, STATUS_QOS)
    for report in (
        lambda: reporter.holding(Refusal(Reason.NOT_STARTED, "call start")),
        lambda: reporter.ok("running"),
        lambda: reporter.ok("running"),
        lambda: reporter.stopped(Refusal(Reason.COLOR_STOPPED, "nothing for 70 ms")),
    ):
        report()
        graph.settle()  # a latched topic keeps one message only
    assert [status.level for status in seen] == [
        DiagnosticStatus.WARN,
        DiagnosticStatus.OK,
        DiagnosticStatus.ERROR,
    ]
    assert [values_of(status)["reason"] for status in seen] == ["not_started", "", "color_stopped"]
    assert seen[-1].message == "color_stopped: nothing for 70 ms" and reporter.reason == "color_stopped"


def test_who_comes_late_gets_the_present_state(graph):
    reporter = Reporter(graph.add(Node("camera", parameter_overrides=graph.parameters())), "camera")
    reporter.holding(Refusal(Reason.NOT_STARTED, ""))
    reporter.ok("running")
    graph.settle()
    seen = graph.record(DiagnosticStatus, STATUS, STATUS_QOS)
    graph.until(lambda: seen)
    assert [status.message for status in seen] == ["running"] and reporter.active


def test_diagnostics_repeat_the_state_every_second_with_the_newest_values(graph):
    reporter = Reporter(graph.add(Node("camera", parameter_overrides=graph.parameters())), "camera")
    seen = graph.record(DiagnosticArray, "/diagnostics")
    graph.advance(2.0, 0.25)
    assert seen == []  # nothing to say yet
    reporter.ok("running")
    reporter.value("rate_hz", 29.9)
    graph.advance(1.0, 0.25)
    assert len(seen) == 2  # the change, and one second
    (status,) = seen[-1].status
    assert values_of(status) == {"reason": "", "rate_hz": "29.9"} and status.name == "spatialbot/camera"
    assert seen[-1].header.stamp.sec == graph.now_ns // 10**9
