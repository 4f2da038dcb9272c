"""Simulators shared by a session's tests: importing ManiSkill takes seconds, a second robot hardly any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from spatialbot_sim.task.robot import SimRobot


@pytest.fixture(scope="session")
def robot() -> Iterator[SimRobot]:
    """With its fixed camera."""
    yield from _robot()


@pytest.fixture(scope="session")
def blind_robot() -> Iterator[SimRobot]:
    """Without cameras: three times as fast, for whatever is not about pictures."""
    yield from _robot(render=False)


def _robot(**options: bool) -> Iterator[SimRobot]:
    # here, so that tests without a simulator do not wait for it
    from spatialbot_sim.task.robot import SimRobot

    made = SimRobot(**options)  # type: ignore[arg-type]
    yield made
    made.close()
