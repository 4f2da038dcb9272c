"""What the server answers to plain HTTP requests: health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from spatialbot_policy.serving.metrics import CONTENT_TYPE


@dataclass(frozen=True)
class Page:
    """An HTTP response."""

    status: HTTPStatus
    text: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Health:
    """The pages of one server; none of them needs the API key or waits for the policy.

    Attributes:
        not_ready: why no observation is taken now; "" when they are.
        metrics: Prometheus' text.
    """

    not_ready: Callable[[], str]
    metrics: Callable[[], str]

    def page(self, path: str) -> Page | None:
        """The page of a path; None when the path is not one of these."""
        where = path.partition("?")[0]
        if where == "/healthz":
            return Page(HTTPStatus.OK, "OK\n")
        if where == "/readyz":
            reason = self.not_ready()
            return Page(HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK, f"{reason or 'ready'}\n")
        if where == "/metrics":
            return Page(HTTPStatus.OK, self.metrics(), CONTENT_TYPE)
        return None
