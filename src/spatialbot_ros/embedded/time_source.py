"""Simulated time: the parameter `use_sim_time` switches a node's clock to the topic `/clock`."""

from __future__ import annotations

from typing import Any

from spatialbot_ros.embedded.clocks import ROSClock
from spatialbot_ros.embedded.parameter import Parameter
from spatialbot_ros.embedded.parameter_rules import result
from spatialbot_ros.embedded.qos import QoSProfile, ReliabilityPolicy
from spatialbot_ros.embedded.times import ClockType, Time
from spatialbot_ros.embedded.wire import message_class

USE_SIM_TIME = "use_sim_time"
CLOCK_TOPIC = "/clock"


class TimeSource:
    """Keeps the clock of a node on `/clock` while `use_sim_time` is true."""

    def __init__(self, node: Any, clock: ROSClock) -> None:
        self._node = node
        self._clock = clock
        self._subscription: Any = None
        if not node.has_parameter(USE_SIM_TIME):
            node.declare_parameter(USE_SIM_TIME, False)
        value = node.get_parameter(USE_SIM_TIME)
        if value.type_ is Parameter.Type.BOOL:
            self._switch(value.value)
        else:
            node.get_logger().error(f"parameter '{USE_SIM_TIME}' must be true or false, got {value.value!r}")
        node.add_on_set_parameters_callback(self._on_parameters)

    def _switch(self, enabled: bool) -> None:
        self._clock._set_ros_time_is_active(enabled)
        if enabled and self._subscription is None:
            self._subscription = self._node.create_subscription(
                message_class("rosgraph_msgs/msg/Clock"),
                CLOCK_TOPIC,
                self._on_clock,
                QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            )
        elif not enabled and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _on_clock(self, message: Any) -> None:
        self._clock.set_ros_time_override(Time.from_msg(message.clock, ClockType.ROS_TIME))

    def _on_parameters(self, parameters: list[Parameter]) -> Any:
        for parameter in parameters:
            if parameter.name == USE_SIM_TIME:
                if parameter.type_ is not Parameter.Type.BOOL:
                    return result(f"parameter '{USE_SIM_TIME}' must be true or false")
                self._switch(parameter.value)
        return result()
