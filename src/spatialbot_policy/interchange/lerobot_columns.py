"""From a step to the columns of a LeRobot data set, and the statistics of an episode's columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from spatialbot_policy.episode import DatasetConfig
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.lerobot_stats import ImageHistogram, Stats, vector_stats
from spatialbot_policy.interchange.steps import Step
from spatialbot_policy.types import ActionStep, FloatArray


class EpisodeStats:
    """Gathers one episode's numbers, and the histograms of its images."""

    def __init__(self, config: DatasetConfig) -> None:
        self._numbers: dict[str, list[Any]] = {}
        self._images: dict[str, ImageHistogram] = {}
        self._config = config

    def add(self, step: Step, row: dict[str, Any]) -> None:
        """Take in one step."""
        for name, value in row.items():
            if not isinstance(value, dict) and name not in (form.EXECUTED, form.TERMINATE):
                self._numbers.setdefault(name, []).append(np.atleast_1d(np.asarray(value, np.float64)))
        for camera in self._config.cameras:
            histogram = self._images.setdefault(form.color_key(camera.name), ImageHistogram())
            histogram.add(step.frames[camera.name].color)

    def stats(self, features: dict[str, Any]) -> dict[str, Stats]:
        """Statistics by feature; executed actions may be NaN, and depth is no brightness: neither has any."""
        found = {name: vector_stats(np.stack(values)) for name, values in self._numbers.items()}
        found |= {name: histogram.stats() for name, histogram in self._images.items()}
        return {name: found[name] for name in features if name in found}


def state_vector(step: Step, columns: form.Columns) -> FloatArray:
    """`observation.state` of a step: the parts that the data set has, in their order."""
    parts: list[FloatArray] = []
    if columns.pose and step.tool_pose is not None:
        parts.append(step.tool_pose)
    if columns.closure and step.closure is not None:
        parts.append(np.array([step.closure]))
    if columns.joints and step.joints_rad is not None:
        parts.append(step.joints_rad)
    return np.concatenate(parts)


def executed_vector(executed: ActionStep | None) -> FloatArray:
    """(8,) what was sent, with its terminate flag; NaN where nothing was."""
    if executed is None:
        return np.full(len(form.ACTION_UNITS) + 1, np.nan)
    return np.append(executed.as_vector(), float(executed.terminate))
