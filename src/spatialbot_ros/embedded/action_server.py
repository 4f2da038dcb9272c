"""Action server: goals come by a service, feedback and status go by topics, as in ROS 2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

from spatialbot_ros.embedded.callback_groups import ReentrantCallbackGroup
from spatialbot_ros.embedded.exceptions import RCLError
from spatialbot_ros.embedded.futures import Future
from spatialbot_ros.embedded.qos import (
    QoSProfile,
    qos_profile_action_status_default,
    qos_profile_services_default,
)
from spatialbot_ros.embedded.wire import message_class

ACCEPTED, EXECUTING, CANCELING, SUCCEEDED, CANCELED, ABORTED = range(1, 7)
UNKNOWN = 0
_ALLOWED = {
    EXECUTING: (ACCEPTED,),
    CANCELING: (ACCEPTED, EXECUTING),
    SUCCEEDED: (EXECUTING, CANCELING),
    ABORTED: (EXECUTING, CANCELING),
    CANCELED: (CANCELING,),
}
_NO_ERROR, _REJECTED, _UNKNOWN_GOAL, _TERMINATED = range(4)


class GoalResponse(Enum):
    """What a goal callback answers."""

    REJECT = 1
    ACCEPT = 2


class CancelResponse(Enum):
    """What a cancel callback answers."""

    REJECT = 1
    ACCEPT = 2


def default_goal_callback(goal_request: Any) -> GoalResponse:
    """Accept every goal."""
    return GoalResponse.ACCEPT


def default_cancel_callback(cancel_request: Any) -> CancelResponse:
    """Let no goal be cancelled."""
    return CancelResponse.REJECT


def default_handle_accepted_callback(goal_handle: ServerGoalHandle) -> None:
    """Execute a goal as soon as it is accepted."""
    goal_handle.execute()


class ServerGoalHandle:
    """One accepted goal on the side of the server."""

    def __init__(self, action_server: ActionServer, goal_info: Any, goal_request: Any) -> None:
        self._server = action_server
        self.goal_info = goal_info
        self._request = goal_request
        self._status = ACCEPTED
        self._lock = threading.Lock()
        self.ended_ns: int | None = None

    @property
    def request(self) -> Any:
        """The goal itself."""
        return self._request

    @property
    def goal_id(self) -> Any:
        """Its unique_identifier_msgs/UUID."""
        return self.goal_info.goal_id

    @property
    def status(self) -> int:
        """Number of action_msgs/GoalStatus."""
        return self._status

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self._status in (ACCEPTED, EXECUTING, CANCELING)

    @property
    def is_cancel_requested(self) -> bool:
        """Whether a client asked to cancel it and the server agreed."""
        return self._status == CANCELING

    def move_to(self, status: int) -> None:
        """Change the state; RCLError if it cannot come from the present one."""
        with self._lock:
            if self._status not in _ALLOWED[status]:
                raise RCLError(f"goal in state {self._status} cannot go to {status} (action_msgs/GoalStatus)")
            self._status = status
        self._server.publish_status()

    def execute(self, execute_callback: Callable[[Any], Any] | None = None) -> None:
        """Start the execute callback as a task of the node's executor."""
        if not self.is_cancel_requested:
            self.move_to(EXECUTING)
        self._server.notify_execute(self, execute_callback)

    def publish_feedback(self, feedback: Any) -> None:
        """Tell clients how far it is; TypeError unless it is the action's Feedback."""
        self._server.publish_feedback(self, feedback)

    def succeed(self) -> None:
        """End it as succeeded."""
        self.move_to(SUCCEEDED)

    def abort(self) -> None:
        """End it as aborted."""
        self.move_to(ABORTED)

    def canceled(self) -> None:
        """End it as cancelled."""
        self.move_to(CANCELED)

    def destroy(self) -> None:
        """Forget it."""
        self._server.forget(self)


class ActionServer:
    """Serves an action; `execute_callback(goal_handle)` returns the Result after it ended the goal."""

    def __init__(
        self,
        node: Any,
        action_type: Any,
        action_name: str,
        execute_callback: Callable[[Any], Any],
        *,
        callback_group: Any = None,
        goal_callback: Callable[[Any], GoalResponse] = default_goal_callback,
        handle_accepted_callback: Callable[[Any], Any] = default_handle_accepted_callback,
        cancel_callback: Callable[[Any], CancelResponse] = default_cancel_callback,
        goal_service_qos_profile: QoSProfile = qos_profile_services_default,
        result_service_qos_profile: QoSProfile = qos_profile_services_default,
        cancel_service_qos_profile: QoSProfile = qos_profile_services_default,
        feedback_pub_qos_profile: QoSProfile | None = None,
        status_pub_qos_profile: QoSProfile = qos_profile_action_status_default,
        result_timeout: float = 900,
    ) -> None:
        self._node = node
        self._action_type = action_type
        self._result_timeout_ns = int(result_timeout * 1e9)
        self._goals: dict[bytes, ServerGoalHandle] = {}
        self._results: dict[bytes, Future] = {}
        self.register_execute_callback(execute_callback)
        self.register_goal_callback(goal_callback)
        self.register_handle_accepted_callback(handle_accepted_callback)
        self.register_cancel_callback(cancel_callback)
        impl, base = action_type.Impl, f"{action_name}/_action"
        feedback_qos = QoSProfile(depth=10) if feedback_pub_qos_profile is None else feedback_pub_qos_profile
        self._feedback = node.create_publisher(impl.FeedbackMessage, f"{base}/feedback", feedback_qos)
        self._status = node.create_publisher(impl.GoalStatusMessage, f"{base}/status", status_pub_qos_profile)
        self._services = [
            node.create_service(
                impl.CancelGoalService,
                f"{base}/cancel_goal",
                self._on_cancel,
                qos_profile=cancel_service_qos_profile,
                callback_group=callback_group,
            ),
            node.create_service(
                impl.GetResultService,
                f"{base}/get_result",
                self._on_result_request,
                qos_profile=result_service_qos_profile,
                # A request waits here until its goal ends and must not hold up the other callbacks.
                callback_group=ReentrantCallbackGroup(),
            ),
            node.create_service(
                impl.SendGoalService,
                f"{base}/send_goal",
                self._on_goal,
                qos_profile=goal_service_qos_profile,
                callback_group=callback_group,
            ),
        ]

    @property
    def action_type(self) -> Any:
        """The class of the action."""
        return self._action_type

    def register_execute_callback(self, execute_callback: Callable[[Any], Any]) -> None:
        """Set what runs a goal."""
        self._execute_callback = _checked(execute_callback)

    def register_goal_callback(self, goal_callback: Callable[[Any], GoalResponse] | None) -> None:
        """Set what accepts or rejects a goal; None accepts all."""
        self._goal_callback = _checked(goal_callback or default_goal_callback)

    def register_cancel_callback(self, cancel_callback: Callable[[Any], CancelResponse] | None) -> None:
        """Set what allows or refuses to cancel a goal; None refuses all."""
        self._cancel_callback = _checked(cancel_callback or default_cancel_callback)

    def register_handle_accepted_callback(
        self, handle_accepted_callback: Callable[[Any], Any] | None
    ) -> None:
        """Set what happens to an accepted goal; None executes it."""
        self._accepted_callback = _checked(handle_accepted_callback or default_handle_accepted_callback)

    async def _on_goal(self, request: Any, response: Any) -> Any:
        self._drop_old_results()
        key = bytes(request.goal_id.uuid)
        answer = None if key in self._goals else await _outcome(self._goal_callback(request.goal))
        response.accepted = answer is GoalResponse.ACCEPT
        if not response.accepted:
            return response
        stamp = self._node.get_clock().now().to_msg()
        info = message_class("action_msgs/msg/GoalInfo")(goal_id=request.goal_id, stamp=stamp)
        response.stamp = stamp
        handle = ServerGoalHandle(self, info, request.goal)
        self._goals[key], self._results[key] = handle, Future()
        self.publish_status()
        # The client learns first that its goal was accepted.
        self._node.executor.create_task(self._accepted_callback, handle)
        return response

    def notify_execute(
        self, goal_handle: ServerGoalHandle, execute_callback: Callable[[Any], Any] | None
    ) -> None:
        """Run a goal as a task of the node's executor."""
        self._node.executor.create_task(
            self._execute, goal_handle, execute_callback or self._execute_callback
        )

    async def _execute(self, handle: ServerGoalHandle, callback: Callable[[Any], Any]) -> None:
        logger = self._node.get_logger()
        result = None
        try:
            result = await _outcome(callback(handle))
        except Exception as error:  # as in rclpy: whatever the callback raises aborts its goal
            logger.error(f"Error raised in execute callback: {error}")
        if handle.is_active:
            logger.warning("Goal state not set, assuming aborted.")
            handle.abort()
        handle.ended_ns = self._node.get_clock().now_ns
        response = self._action_type.Impl.GetResultService.Response(status=handle.status)
        if result is not None:
            response.result = result
        future = self._results.get(bytes(handle.goal_id.uuid))
        if future is not None:
            future.set_result(response)

    async def _on_result_request(self, request: Any, response: Any) -> Any:
        future = self._results.get(bytes(request.goal_id.uuid))
        if future is None:
            response.status = UNKNOWN
            return response
        return await future

    async def _on_cancel(self, request: Any, response: Any) -> Any:
        asked = self._goals_to_cancel(request.goal_info)
        active = [handle for handle in asked if handle.is_active]
        for handle in active:
            if await _outcome(self._cancel_callback(handle)) is CancelResponse.ACCEPT:
                if not handle.is_cancel_requested:
                    handle.move_to(CANCELING)
                response.goals_canceling.append(handle.goal_info)
        if response.goals_canceling:
            response.return_code = _NO_ERROR
        elif active or not any(request.goal_info.goal_id.uuid):
            response.return_code = _REJECTED
        else:
            response.return_code = _TERMINATED if asked else _UNKNOWN_GOAL
        return response

    def _goals_to_cancel(self, info: Any) -> list[ServerGoalHandle]:
        """A goal by its id, all goals up to a stamp, or all."""
        key = bytes(info.goal_id.uuid)
        until = (info.stamp.sec, info.stamp.nanosec)
        if any(key) and until == (0, 0):
            return [self._goals[key]] if key in self._goals else []
        return [
            handle
            for uuid, handle in self._goals.items()
            if uuid == key
            or until == (0, 0)
            or (handle.goal_info.stamp.sec, handle.goal_info.stamp.nanosec) <= until
        ]

    def publish_feedback(self, goal_handle: ServerGoalHandle, feedback: Any) -> None:
        """Tell clients how far a goal is."""
        if not isinstance(feedback, self._action_type.Feedback):
            raise TypeError(f"expected {self._action_type.__name__}.Feedback, got {type(feedback).__name__}")
        message = self._action_type.Impl.FeedbackMessage(goal_id=goal_handle.goal_id, feedback=feedback)
        self._feedback.publish(message)

    def publish_status(self) -> None:
        """Tell clients the states of all goals."""
        status = message_class("action_msgs/msg/GoalStatus")
        goals = [status(goal_info=handle.goal_info, status=handle.status) for handle in self._goals.values()]
        self._status.publish(self._action_type.Impl.GoalStatusMessage(status_list=goals))

    def forget(self, goal_handle: ServerGoalHandle) -> None:
        """Drop a goal and its result."""
        key = bytes(goal_handle.goal_id.uuid)
        self._goals.pop(key, None)
        self._results.pop(key, None)

    def _drop_old_results(self) -> None:
        now_ns = self._node.get_clock().now_ns
        for handle in list(self._goals.values()):
            if handle.ended_ns is not None and now_ns - handle.ended_ns > self._result_timeout_ns:
                self.forget(handle)

    def destroy(self) -> None:
        """Take it out of the graph."""
        for service in self._services:
            self._node.destroy_service(service)
        self._node.destroy_publisher(self._feedback)
        self._node.destroy_publisher(self._status)
        self._goals.clear()
        self._results.clear()


def _checked(callback: Any) -> Callable[[Any], Any]:
    if not callable(callback):
        raise TypeError(f"a callback must be callable, got {callback!r}")
    return callback  # type: ignore[no-any-return]


async def _outcome(value: Any) -> Any:
    """What a callback returned, awaited if it is a coroutine."""
    return await value if hasattr(value, "__await__") else value
