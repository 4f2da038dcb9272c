"""What the server counts, as Prometheus reads it: clients, requests by outcome, and where the time goes."""

from __future__ import annotations

from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Outcome(str, Enum):
    """How one observation ended."""

    ANSWERED = "answered"
    REFUSED = "refused"  # a bad observation
    REPLACED = "replaced"  # by a newer one of the same client
    BUSY = "busy"
    TIMEOUT = "timeout"
    FAILED = "failed"  # the policy raised what it should not
    ABANDONED = "abandoned"  # the client went away

    def __str__(self) -> str:
        """The bare name."""
        return self.value


class Reason(str, Enum):
    """Why a connection did not come about, or was ended by the server."""

    KEY = "key"
    FULL = "full"
    DRAINING = "draining"
    GARBAGE = "garbage"
    IDLE = "idle"
    SLOW_WRITER = "slow_writer"
    SLOW_READER = "slow_reader"

    def __str__(self) -> str:
        """The bare name."""
        return self.value


class ServerMetrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        at = self.registry
        self.build = Info("spatialbot_server", "What this server runs.", registry=at)
        self.ready = Gauge("spatialbot_ready", "1 when observations are taken, else 0.", registry=at)
        self.clients = Gauge("spatialbot_clients", "Clients that are connected.", registry=at)
        self.waiting = Gauge("spatialbot_waiting_observations", "Waiting for the policy.", registry=at)
        self.requests = Counter(
            "spatialbot_requests", "Observations, by how they ended.", ["outcome"], registry=at
        )
        self.refusals = Counter(
            "spatialbot_refused_connections", "Refused or ended by the server.", ["reason"], registry=at
        )
        self.received = Counter("spatialbot_received_bytes", "Bytes of the observations.", registry=at)
        self.queue = self._seconds("spatialbot_queue_seconds", "Wait for the policy.")
        self.inference = self._seconds(
            "spatialbot_inference_seconds", "Reading an observation and answering it."
        )
        self.total = self._seconds(
            "spatialbot_request_seconds", "From an observation's arrival to its answer."
        )
        for outcome in Outcome:  # so that each is there from the start, as 0
            self.requests.labels(outcome.value)
        for reason in Reason:
            self.refusals.labels(reason.value)

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=_SECONDS, registry=self.registry)

    def text(self) -> str:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry).decode("utf-8")
