"""What a node sees of the graph: names, types, counts and endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.names import expand, join
from spatialbot_ros.embedded.qos import QoSProfile

NamesAndTypes = list[tuple[str, list[str]]]


class TopicEndpointTypeEnum(IntEnum):
    """Which end of a topic."""

    INVALID = 0
    PUBLISHER = 1
    SUBSCRIPTION = 2


@dataclass
class TopicEndpointInfo:
    """One publisher or subscription as others see it."""

    node_name: str
    node_namespace: str
    topic_type: str
    endpoint_type: TopicEndpointTypeEnum
    qos_profile: QoSProfile
    endpoint_gid: list[int] = field(default_factory=list)


class NodeNameNonExistentError(RuntimeError):
    """A question about a node that does not exist."""


def names_and_types(*registries: dict[str, list[Any]]) -> NamesAndTypes:
    """Every name of some registries with its types, sorted."""
    found: dict[str, set[str]] = {}
    with BUS.lock:
        for registry in registries:
            for name, endpoints in registry.items():
                found.setdefault(name, set()).update(endpoint.type_name for endpoint in endpoints)
    return [(name, sorted(types)) for name, types in sorted(found.items())]


class GraphMethods:
    """The part of `Node` that looks at the graph."""

    def get_topic_names_and_types(self, no_demangle: bool = False) -> NamesAndTypes:
        """All topics with their types."""
        return names_and_types(BUS.publishers, BUS.subscriptions)

    def get_service_names_and_types(self) -> NamesAndTypes:
        """All services with their types."""
        return names_and_types(BUS.services)

    def get_node_names(self) -> list[str]:
        """Names of all nodes."""
        return [name for name, _ in self.get_node_names_and_namespaces()]

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        """Names and namespaces of all nodes."""
        with BUS.lock:
            return [(node.get_name(), node.get_namespace()) for node in BUS.nodes]

    def get_node_names_and_namespaces_with_enclaves(self) -> list[tuple[str, str, str]]:
        """Names, namespaces and security enclaves of all nodes."""
        return [(name, namespace, "/") for name, namespace in self.get_node_names_and_namespaces()]

    def get_publisher_names_and_types_by_node(
        self, node_name: str, node_namespace: str, no_demangle: bool = False
    ) -> NamesAndTypes:
        """Topics that a node publishes."""
        return _of_node(BUS.publishers, node_name, node_namespace)

    def get_subscriber_names_and_types_by_node(
        self, node_name: str, node_namespace: str, no_demangle: bool = False
    ) -> NamesAndTypes:
        """Topics that a node subscribes."""
        return _of_node(BUS.subscriptions, node_name, node_namespace)

    def get_service_names_and_types_by_node(self, node_name: str, node_namespace: str) -> NamesAndTypes:
        """Services that a node offers."""
        return _of_node(BUS.services, node_name, node_namespace)

    def get_client_names_and_types_by_node(self, node_name: str, node_namespace: str) -> NamesAndTypes:
        """Services that a node calls."""
        return _of_node(BUS.clients, node_name, node_namespace)

    def count_publishers(self, topic_name: str) -> int:
        """How many publishers a topic has, whatever their QoS."""
        return self._count(BUS.publishers, topic_name)

    def count_subscribers(self, topic_name: str) -> int:
        """How many subscriptions a topic has, whatever their QoS."""
        return self._count(BUS.subscriptions, topic_name)

    def get_publishers_info_by_topic(
        self, topic_name: str, no_mangle: bool = False
    ) -> list[TopicEndpointInfo]:
        """The publishers of a topic."""
        return self._infos(BUS.publishers, topic_name, TopicEndpointTypeEnum.PUBLISHER)

    def get_subscriptions_info_by_topic(
        self, topic_name: str, no_mangle: bool = False
    ) -> list[TopicEndpointInfo]:
        """The subscriptions of a topic."""
        return self._infos(BUS.subscriptions, topic_name, TopicEndpointTypeEnum.SUBSCRIPTION)

    def _expanded(self, name: str) -> str:
        return expand(name, self.get_name(), self.get_namespace())  # type: ignore[attr-defined]  # of Node

    def _count(self, registry: dict[str, list[Any]], topic_name: str) -> int:
        with BUS.lock:
            return len(registry.get(self._expanded(topic_name), ()))

    def _infos(
        self, registry: dict[str, list[Any]], topic_name: str, end: TopicEndpointTypeEnum
    ) -> list[TopicEndpointInfo]:
        with BUS.lock:
            return [
                TopicEndpointInfo(
                    endpoint.node.get_name(),
                    endpoint.node.get_namespace(),
                    endpoint.type_name,
                    end,
                    endpoint.qos_profile,
                )
                for endpoint in registry.get(self._expanded(topic_name), ())
            ]


def _of_node(registry: dict[str, list[Any]], node_name: str, namespace: str) -> NamesAndTypes:
    full = join(namespace, node_name)
    with BUS.lock:
        if full not in [node.get_fully_qualified_name() for node in BUS.nodes]:
            raise NodeNameNonExistentError(f"cannot find node '{full}'; see get_node_names()")
        own = {
            name: [endpoint for endpoint in endpoints if endpoint.node.get_fully_qualified_name() == full]
            for name, endpoints in registry.items()
        }
    return names_and_types({name: endpoints for name, endpoints in own.items() if endpoints})
