"""What a node makes and destroys: publishers, subscriptions, services, clients, timers, guard conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from spatialbot_ros.embedded.clocks import Clock
from spatialbot_ros.embedded.entities import GuardCondition
from spatialbot_ros.embedded.exceptions import RCLError
from spatialbot_ros.embedded.names import expand, remapped
from spatialbot_ros.embedded.qos import QoSProfile, qos_profile_services_default, to_profile
from spatialbot_ros.embedded.services import Client, Service
from spatialbot_ros.embedded.timers import Rate, Timer
from spatialbot_ros.embedded.topics import (
    Publisher,
    Subscription,
    announce_publisher,
    announce_subscription,
)


class EntityMethods:
    """The part of `Node` that owns entities; the names come from `Node`."""

    _context: Any
    _clock: Any
    _name: str
    _namespace: str
    _remaps: Any

    def _start_entities(self) -> None:
        # Replaced, never altered, so that an executor may walk it while another thread adds to it.
        self._entities: tuple[Any, ...] = ()
        self._publishers: list[Publisher] = []
        self._default_callback_group = MutuallyExclusiveCallbackGroup()
        self._rate_group = ReentrantCallbackGroup()

    def wake_executor(self) -> None:
        """Tell the executor that there is work; `Node` knows which."""
        raise NotImplementedError

    @property
    def default_callback_group(self) -> MutuallyExclusiveCallbackGroup:
        """The group of callbacks that name none."""
        return self._default_callback_group

    @property
    def entities(self) -> tuple[Any, ...]:
        """Everything that has callbacks, in order of creation."""
        return self._entities

    def _of(self, kind: type) -> Iterator[Any]:
        return (entity for entity in self._entities if isinstance(entity, kind))

    @property
    def publishers(self) -> Iterator[Publisher]:
        """Its publishers."""
        return iter(list(self._publishers))

    @property
    def subscriptions(self) -> Iterator[Subscription]:
        """Its subscriptions."""
        return self._of(Subscription)

    @property
    def clients(self) -> Iterator[Client]:
        """Its clients."""
        return self._of(Client)

    @property
    def services(self) -> Iterator[Service]:
        """Its services."""
        return self._of(Service)

    @property
    def timers(self) -> Iterator[Timer]:
        """Its timers."""
        return self._of(Timer)

    @property
    def guards(self) -> Iterator[GuardCondition]:
        """Its guard conditions."""
        return self._of(GuardCondition)

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        """Full name of a topic after expansion and remapping."""
        return self._resolve(topic, False, only_expand)

    def resolve_service_name(self, service: str, *, only_expand: bool = False) -> str:
        """Full name of a service after expansion and remapping."""
        return self._resolve(service, True, only_expand)

    def _resolve(self, name: str, is_service: bool, only_expand: bool = False) -> str:
        full = expand(name, self._name, self._namespace, is_service)
        return full if only_expand else remapped(full, self._remaps, self._name, self._namespace, is_service)

    def _group(self, callback_group: Any) -> Any:
        return self._default_callback_group if callback_group is None else callback_group

    def _check_usable(self) -> None:
        if not self._context.usable:
            raise RCLError(f"node {self._name} cannot make anything: its context was shut down")

    def _add(self, entity: Any) -> Any:
        entity.attach(self)
        with BUS.lock:
            self._entities = (*self._entities, entity)
        self.wake_executor()
        return entity

    def create_publisher(
        self,
        msg_type: Any,
        topic: str,
        qos_profile: QoSProfile | int,
        *,
        callback_group: Any = None,
        event_callbacks: Any = None,
        qos_overriding_options: Any = None,
        publisher_class: type[Publisher] = Publisher,
    ) -> Publisher:
        """Publish a topic; an int as QoS is the depth of a reliable, volatile queue."""
        self._check_usable()
        qos = to_profile(qos_profile)
        publisher = publisher_class(self, msg_type, topic, self._resolve(topic, False), qos)
        self._publishers.append(publisher)
        announce_publisher(publisher)
        return publisher

    def create_subscription(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[[Any], Any],
        qos_profile: QoSProfile | int,
        *,
        callback_group: Any = None,
        event_callbacks: Any = None,
        qos_overriding_options: Any = None,
        raw: bool = False,
    ) -> Subscription:
        """Subscribe a topic; with `raw` the callback gets the CDR bytes."""
        self._check_usable()
        qos = to_profile(qos_profile)
        name = self._resolve(topic, False)
        group = self._group(callback_group)
        subscription = Subscription(self, msg_type, topic, name, callback, group, qos, raw)
        self._add(subscription)
        announce_subscription(subscription)
        return subscription

    def create_client(
        self,
        srv_type: Any,
        srv_name: str,
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: Any = None,
    ) -> Client:
        """Make a client of a service."""
        self._check_usable()
        name = self._resolve(srv_name, True)
        client: Client = self._add(
            Client(self, srv_type, srv_name, name, qos_profile, self._group(callback_group))
        )
        return client

    def create_service(
        self,
        srv_type: Any,
        srv_name: str,
        callback: Callable[[Any, Any], Any],
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: Any = None,
    ) -> Service:
        """Offer a service: `callback(request, response)` fills the response and returns it."""
        self._check_usable()
        name = self._resolve(srv_name, True)
        service = Service(self, srv_type, srv_name, name, callback, self._group(callback_group), qos_profile)
        self._add(service)
        return service

    def create_timer(
        self,
        timer_period_sec: float,
        callback: Callable[[], Any] | None,
        callback_group: Any = None,
        clock: Clock | None = None,
    ) -> Timer:
        """Call back every period of a clock, by default the node's own."""
        period_ns = int(float(timer_period_sec) * 1e9)
        used = self._clock if clock is None else clock
        timer: Timer = self._add(
            Timer(callback, self._group(callback_group), period_ns, used, context=self._context)
        )
        return timer

    def create_guard_condition(
        self, callback: Callable[[], Any], callback_group: Any = None
    ) -> GuardCondition:
        """Make a callback that any thread can ask for with `.trigger()`."""
        guard: GuardCondition = self._add(
            GuardCondition(callback, self._group(callback_group), context=self._context)
        )
        return guard

    def create_rate(self, frequency: float, clock: Clock | None = None) -> Rate:
        """Make a sleeper for a loop in its own thread; ValueError unless the frequency in Hz is positive."""
        if frequency <= 0:
            raise ValueError("frequency must be > 0")
        timer = self.create_timer(1.0 / frequency, None, callback_group=self._rate_group, clock=clock)
        return Rate(timer, context=self._context)

    def add_entity(self, entity: Any) -> None:
        """Let the executor run an entity made elsewhere, such as an action server's."""
        self._add(entity)

    def _destroy_entity(self, entity: Any) -> bool:
        with BUS.lock:
            if entity not in self._entities:
                return False
            self._entities = tuple(kept for kept in self._entities if kept is not entity)
        entity.destroy()
        self.wake_executor()
        return True

    def destroy_publisher(self, publisher: Publisher) -> bool:
        """Take a publisher out of the graph; False if it is not of this node."""
        if publisher not in self._publishers:
            return False
        self._publishers.remove(publisher)
        publisher.destroy()
        return True

    def destroy_subscription(self, subscription: Subscription) -> bool:
        """Take a subscription out of the graph; False if it is not of this node."""
        return self._destroy_entity(subscription)

    def destroy_client(self, client: Client) -> bool:
        """Take a client out of the graph; False if it is not of this node."""
        return self._destroy_entity(client)

    def destroy_service(self, service: Service) -> bool:
        """Take a service out of the graph; False if it is not of this node."""
        return self._destroy_entity(service)

    def destroy_timer(self, timer: Timer) -> bool:
        """Stop a timer for good; False if it is not of this node."""
        return self._destroy_entity(timer)

    def destroy_guard_condition(self, guard: GuardCondition) -> bool:
        """Remove a guard condition; False if it is not of this node."""
        return self._destroy_entity(guard)

    def destroy_rate(self, rate: Rate) -> bool:
        """Stop a rate; False if it is not of this node."""
        rate.destroy()
        return self._destroy_entity(rate._timer)

    def _destroy_entities(self) -> None:
        for publisher in list(self._publishers):
            self.destroy_publisher(publisher)
        for entity in self._entities:
            self._destroy_entity(entity)
