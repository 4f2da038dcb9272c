"""What policy_node knows of the way to its policy: why it is cut, and what /diagnostics shows of it.

A policy that lives elsewhere tells by `unavailable` why it cannot be asked, from any thread; one that lives
here has no such attribute and is always there.
"""

from __future__ import annotations

from collections.abc import Mapping

from spatialbot_policy.errors import LinkError, ServerChanged, ServerLost, ServerRefused, ServerSlow
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.types import Policy
from spatialbot_ros.logic.reasons import Reason, Refusal

LINK_REASONS: Mapping[type[Exception], Reason] = {
    ServerLost: Reason.SERVER_LOST,
    ServerSlow: Reason.SERVER_SLOW,
    ServerChanged: Reason.SERVER_CHANGED,
    ServerRefused: Reason.SERVER_REFUSED,
}


def link_refusal(policy: Policy) -> Refusal | None:
    """Why a policy cannot be asked; None when it can."""
    fault: LinkError | None = getattr(policy, "unavailable", None)
    return None if fault is None else Refusal(LINK_REASONS.get(type(fault), Reason.SERVER_LOST), str(fault))


def link_values(policy: Policy) -> Mapping[str, str]:
    """State and times of the link for /diagnostics."""
    if not isinstance(policy, RemotePolicy):
        return {}
    fault, timing = policy.unavailable, policy.timing
    values = {
        "server": "connected" if fault is None else str(fault),
        "server checkpoint": policy.fingerprint[:12],
        "server connections": str(policy.connections),
    }
    if timing is not None:
        values["server answer"] = (
            f"{timing.total_ms:.1f} ms: encode {timing.encode_ms:.1f}, link {timing.link_ms:.1f}, "
            f"decode {timing.decode_ms:.1f}; {timing.sent_bytes} bytes as {timing.images}"
        )
    return values


def close_link(policy: Policy) -> None:
    """Let go of a policy that holds a connection."""
    if isinstance(policy, RemotePolicy):
        policy.close()
