"""Episodes that a policy drove while an expert said at each step what would have been right (DAgger).

`action` of such an episode is the expert's answer, `executed` what was carried out. Every step teaches,
whatever came of the episode: a recorder ends it where no answer could mend the scene any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from spatialbot_policy.episodes.info import EpisodeInfo

AGGREGATED_KEY = "aggregated"
"""Key of `EpisodeInfo.extra`: a mapping with `policy`, the fingerprint of the checkpoint that drove."""


def driver_of(info: EpisodeInfo) -> str:
    """Fingerprint of the checkpoint that drove an episode; "" where an expert or a person did."""
    facts = info.extra.get(AGGREGATED_KEY)
    return str(facts.get("policy", "")) if isinstance(facts, Mapping) else ""


def teaches(info: EpisodeInfo) -> bool:
    """Whether a policy may imitate the actions: of a success, or an expert's answers to a policy's states."""
    return bool(driver_of(info)) or (info.outcome is not None and info.outcome.success is True)
