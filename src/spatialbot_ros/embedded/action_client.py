"""Action client: sends goals, follows their feedback and status, asks for results and cancels."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.action_server import UNKNOWN
from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.futures import Future
from spatialbot_ros.embedded.qos import (
    QoSProfile,
    qos_profile_action_status_default,
    qos_profile_services_default,
)
from spatialbot_ros.embedded.wire import message_class


class ClientGoalHandle:
    """One goal on the side of the client."""

    def __init__(self, action_client: ActionClient, goal_id: Any, goal_response: Any = None) -> None:
        self._client = action_client
        self._goal_id = goal_id
        self._response = goal_response
        self._status = UNKNOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientGoalHandle) and self._goal_id == other.goal_id

    __hash__ = None  # type: ignore[assignment]  # as in rclpy

    @property
    def goal_id(self) -> Any:
        """Its unique_identifier_msgs/UUID."""
        return self._goal_id

    @property
    def stamp(self) -> Any:
        """When the server accepted it, as builtin_interfaces/Time."""
        return self._response.stamp

    @property
    def accepted(self) -> bool:
        """Whether the server accepted it."""
        return bool(self._response.accepted)

    @property
    def status(self) -> int:
        """Last known number of action_msgs/GoalStatus."""
        return self._status

    def cancel_goal_async(self) -> Future:
        """Ask the server to cancel it; the result is an action_msgs/CancelGoal response."""
        return self._client.cancel(self)

    def get_result_async(self) -> Future:
        """Ask for the end of the goal; the result has `.status` and `.result`."""
        return self._client.ask_result(self)

    def cancel_goal(self) -> Any:
        """As `cancel_goal_async`, and wait; another thread has to spin the node."""
        return _wait_for(self.cancel_goal_async())

    def get_result(self) -> Any:
        """As `get_result_async`, and wait; another thread has to spin the node."""
        return _wait_for(self.get_result_async())


class ActionClient:
    """Sends goals to an action server."""

    def __init__(
        self,
        node: Any,
        action_type: Any,
        action_name: str,
        *,
        callback_group: Any = None,
        goal_service_qos_profile: QoSProfile = qos_profile_services_default,
        result_service_qos_profile: QoSProfile = qos_profile_services_default,
        cancel_service_qos_profile: QoSProfile = qos_profile_services_default,
        feedback_sub_qos_profile: QoSProfile | None = None,
        status_sub_qos_profile: QoSProfile = qos_profile_action_status_default,
    ) -> None:
        self._node = node
        self._action_type = action_type
        self._action_name = action_name
        self._feedback_callbacks: dict[bytes, Callable[[Any], Any]] = {}
        self._handles: dict[bytes, ClientGoalHandle] = {}
        impl, base = action_type.Impl, f"{action_name}/_action"

        def client(service: Any, name: str, qos: QoSProfile) -> Any:
            return node.create_client(
                service, f"{base}/{name}", qos_profile=qos, callback_group=callback_group
            )

        self._goal_client = client(impl.SendGoalService, "send_goal", goal_service_qos_profile)
        self._cancel_client = client(impl.CancelGoalService, "cancel_goal", cancel_service_qos_profile)
        self._result_client = client(impl.GetResultService, "get_result", result_service_qos_profile)
        self._feedback = node.create_subscription(
            impl.FeedbackMessage,
            f"{base}/feedback",
            self._on_feedback,
            QoSProfile(depth=10) if feedback_sub_qos_profile is None else feedback_sub_qos_profile,
            callback_group=callback_group,
        )
        self._status = node.create_subscription(
            impl.GoalStatusMessage,
            f"{base}/status",
            self._on_status,
            status_sub_qos_profile,
            callback_group=callback_group,
        )

    def send_goal_async(
        self, goal: Any, feedback_callback: Callable[[Any], Any] | None = None, goal_uuid: Any = None
    ) -> Future:
        """Send a goal; the result is a ClientGoalHandle, whose `accepted` may be False.

        Raises:
            TypeError: it is not the action's Goal.
        """
        if not isinstance(goal, self._action_type.Goal):
            raise TypeError(f"expected {self._action_type.__name__}.Goal, got {type(goal).__name__}")
        request = self._action_type.Impl.SendGoalService.Request(goal=goal)
        if goal_uuid is None:
            goal_uuid = message_class("unique_identifier_msgs/msg/UUID")(uuid=list(uuid.uuid4().bytes))
        request.goal_id = goal_uuid
        key = bytes(goal_uuid.uuid)
        if feedback_callback is not None:
            self._feedback_callbacks[key] = feedback_callback
        future = Future()
        # Known before the answer comes, since the first status may overtake it.
        handle = self._handles[key] = ClientGoalHandle(self, goal_uuid)

        def on_response(answered: Future) -> None:
            handle._response = answered.result()
            if not handle.accepted:
                self._feedback_callbacks.pop(key, None)
                self._handles.pop(key, None)
            future._set_executor(self._node.executor)
            future.set_result(handle)

        self._goal_client.call_async(request).add_done_callback(on_response)
        return future

    def send_goal(self, goal: Any, **kwargs: Any) -> Any:
        """Send a goal and wait for its end; another thread has to spin the node."""
        return _wait_for(self.send_goal_async(goal, **kwargs)).get_result()

    def cancel(self, handle: ClientGoalHandle) -> Future:
        """Ask the server to cancel a goal."""
        request = self._action_type.Impl.CancelGoalService.Request()
        request.goal_info.goal_id = handle.goal_id
        return self._cancel_client.call_async(request)  # type: ignore[no-any-return]

    def ask_result(self, handle: ClientGoalHandle) -> Future:
        """Ask for the end of a goal."""
        request = self._action_type.Impl.GetResultService.Request(goal_id=handle.goal_id)
        asked: Future = self._result_client.call_async(request)

        def note(answered: Future) -> None:
            handle._status = answered.result().status
            key = bytes(handle.goal_id.uuid)
            self._feedback_callbacks.pop(key, None)
            self._handles.pop(key, None)

        asked.add_done_callback(note)
        return asked

    def _on_feedback(self, message: Any) -> None:
        callback = self._feedback_callbacks.get(bytes(message.goal_id.uuid))
        if callback is not None:
            callback(message)

    def _on_status(self, message: Any) -> None:
        for status in message.status_list:
            handle = self._handles.get(bytes(status.goal_info.goal_id.uuid))
            if handle is not None:
                handle._status = status.status

    def server_is_ready(self) -> bool:
        """Whether a server with all its parts exists."""
        services = (self._goal_client, self._cancel_client, self._result_client)
        topics = (self._feedback, self._status)
        return all(client.service_is_ready() for client in services) and all(
            subscription.get_publisher_count() for subscription in topics
        )

    def wait_for_server(self, timeout_sec: float | None = None) -> bool:
        """Wait until a server exists; False if none came in time or the context ended."""
        context = self._node.context
        BUS.wait_until(lambda: self.server_is_ready() or not context.ok(), timeout_sec)
        return self.server_is_ready()

    def destroy(self) -> None:
        """Take it out of the graph."""
        for client in (self._goal_client, self._cancel_client, self._result_client):
            self._node.destroy_client(client)
        for subscription in (self._feedback, self._status):
            self._node.destroy_subscription(subscription)


def _wait_for(future: Future) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _future: done.set())
    done.wait()
    return future.result()
