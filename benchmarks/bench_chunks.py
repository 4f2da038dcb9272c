"""Stop-and-go or on the move: a slow policy that answers with one step, and one that answers with eight.

python -m benchmarks.bench_chunks prints a table, then the figures as one line of JSON. Time is simulated: the
figures do not depend on the machine. What the nodes are made of runs as in them: the choice of the frames
(StepPacing), one observation with the policy at a time and of those that wait the newest (as PolicyWorker),
the schedule (ActionSchedule) and the guard of a Franka Research 3 (ArmMotion, commands at 100 Hz). The policy
leads the tool to and fro between two places; it knows them, so that latency is all that differs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field

import numpy as np

from spatialbot_policy.types import ActionChunk, ActionStep, FloatArray
from spatialbot_ros.logic.action_schedule import ActionSchedule
from spatialbot_ros.logic.arm_models import arm_model
from spatialbot_ros.logic.arm_motion import ArmMotion
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.pose_history import PoseHistory
from spatialbot_ros.logic.safety import guard_for
from spatialbot_ros.logic.step_pacing import StepPacing

ARM = "fr3"
MS = 1_000_000
TICK_NS, FRAME_NS, PERIOD_NS = 10 * MS, 33 * MS, 100 * MS
LATENCIES_MS = (50, 200, 400)
HORIZONS = (1, 8)
BLEND_STEPS = 3
LEGS = 4
REACH_M, NEAR_M, STEP_M = 0.15, 0.015, 0.02
STANDS_M_S = 0.01
LONGEST_NS = 60_000 * MS
PATIENT = GuardLimits(max_step_m=0.09, max_action_age_ms=1000.0)
"""Without the longer age a guard refuses single steps that are this late, and the arm stands for good."""


class Guide:
    """Leads the tool to one place after the other.

    It counts on what will have been sent by the time its answer is there: the first steps of an answer are
    those of the answer before for the same times. Otherwise the way of the steps that come too late would be
    lost, and near the place, where only they are not zero, the arm would stand for good.

    Args:
        places_m: (3,) each, in order.
        horizon: steps of an answer.
    """

    def __init__(self, places_m: list[FloatArray], horizon: int) -> None:
        self.places_m, self._horizon = places_m, horizon
        self._sent: dict[int, FloatArray] = {}

    def answer(self, stamp_ns: int, position_m: FloatArray, leg: int, now_ns: int) -> ActionChunk:
        """Steps towards the place of the leg; an observation at its end begins the next."""
        place_m, moves, expected = self.places_m[min(leg, len(self.places_m) - 1)], [], position_m
        for step in range(self._horizon):
            time_ns = stamp_ns + step * PERIOD_NS
            way = place_m - expected
            move = way * min(1.0, STEP_M / max(1e-9, float(np.linalg.norm(way))))
            if self._horizon > 1 and time_ns <= now_ns:
                passed = time_ns <= now_ns - PERIOD_NS
                move = self._before(time_ns, np.zeros(3) if passed else move)
            moves.append(move)
            expected = expected + move
        self._sent = {stamp_ns + step * PERIOD_NS: move for step, move in enumerate(moves)}
        return ActionChunk(stamp_ns, tuple(ActionStep(move, np.zeros(3), 0.0) for move in moves))

    def _before(self, stamp_ns: int, otherwise: FloatArray) -> FloatArray:
        """What the last answer had for about this time."""
        near = [move for sent_ns, move in self._sent.items() if 2 * abs(sent_ns - stamp_ns) <= PERIOD_NS]
        return near[0] if near else otherwise


class Cell:
    """Camera, policy, schedule, guard and an arm that follows its commands, tick by tick."""

    def __init__(self, latency_ms: int, horizon: int) -> None:
        model = arm_model(ARM)
        self._kinematics = ArmKinematics(model, 0.05, 0.5)
        self._joints = np.array(model.home_rad)
        self._motion = ArmMotion(guard_for(ARM, PATIENT), PoseHistory(2000, 100 * MS))
        self._schedule = ActionSchedule(PERIOD_NS, BLEND_STEPS)
        self._pacing = StepPacing(1e9 / PERIOD_NS, 1e9 / FRAME_NS)
        self._latency_ns = latency_ms * MS
        home = self.pose.position_m
        ends = (home + [0.0, REACH_M, 0.0], home - [0.0, REACH_M, 0.0])
        self.guide = Guide([ends[leg % 2] for leg in range(LEGS)], horizon)
        self._waiting: tuple[int, FloatArray, int] | None = None
        self._working: tuple[int, FloatArray, int] | None = None
        self._done_ns = 0
        self._moving = False
        self.reached = 0

    @property
    def pose(self) -> Pose:
        """Of the tool."""
        return self._kinematics.forward(self._joints)

    def tick(self, now_ns: int) -> None:
        """All that happens in ten milliseconds, in the order of the data."""
        pose = self.pose
        self._motion.pose(now_ns, pose)
        self._motion.joints(now_ns, self._joints)
        self.reached += bool(np.linalg.norm(self.guide.places_m[self.reached] - pose.position_m) < NEAR_M)
        if now_ns % FRAME_NS < TICK_NS and self._pacing.accept(now_ns):
            self._waiting = (now_ns, pose.position_m, self.reached)
        if self._working is not None and now_ns >= self._done_ns:
            self._schedule.submit(self.guide.answer(*self._working, now_ns))
            self._working = None
        if self._working is None and self._waiting is not None:
            self._working, self._waiting = self._waiting, None
            self._done_ns = now_ns + self._latency_ns
        step = self._schedule.due(now_ns)
        if step is not None:
            self._check(self._motion.accept(step.action.as_vector(), step.stamp_ns, now_ns))
            self._moving = True
        if self._moving:
            verdict = self._motion.advance(now_ns, TICK_NS / 1e9)
            self._check(verdict.refusal)
            if verdict.command is not None:
                self._joints = verdict.command.joints_rad

    @staticmethod
    def _check(refusal: object) -> None:
        if refusal is not None:
            raise RuntimeError(f"the guard refuses: {refusal}; the figures would mean nothing")


@dataclass
class Track:
    """What was seen of the tool, once a tick."""

    positions: list[FloatArray] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """How fast and how evenly the tool moved from its first motion on."""
        velocity = np.diff(np.array(self.positions), axis=0) / (TICK_NS / 1e9)
        speed = np.linalg.norm(velocity, axis=1)
        first = int(np.argmax(speed > STANDS_M_S))
        velocity, speed = velocity[first:], speed[first:]
        stands = speed < STANDS_M_S
        stops = int(np.sum(stands[1:] & ~stands[:-1]))
        jumps = np.linalg.norm(np.diff(velocity, axis=0), axis=1) / (TICK_NS / 1e9)
        return {
            "seconds": len(speed) * TICK_NS / 1e9,
            "standing_percent": float(100 * stands.mean()),
            "stops": stops,
            "mean_speed_m_s": float(speed.mean()),
            "rms_acceleration_m_s2": float(np.sqrt((jumps**2).mean())),
            "way_m": float(speed.sum() * TICK_NS / 1e9),
        }


def run(latency_ms: int, horizon: int) -> dict[str, float]:
    """Lead the tool over all legs.

    Raises:
        RuntimeError: it never arrives, or the guard stops it.
    """
    cell, track = Cell(latency_ms, horizon), Track()
    for now_ns in range(0, LONGEST_NS, TICK_NS):
        cell.tick(now_ns)
        track.positions.append(cell.pose.position_m)
        if cell.reached == LEGS:
            return track.summary()
    raise RuntimeError(f"with {latency_ms} ms and {horizon} steps the tool never arrives")


def main() -> None:
    """Print the table and the JSON."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    least_m = REACH_M * (2 * LEGS - 1)
    print(f"{LEGS} legs, {least_m:.2f} m at up to {STEP_M / (PERIOD_NS / 1e9):.2f} m/s, control at 10 Hz")
    names = ("latency", "steps", "seconds", "standing", "stops", "mean m/s", "rms m/s2", "way m")
    print("".join(f"{name:>10}" for name in names))
    rows = []
    for latency_ms in LATENCIES_MS:
        for horizon in HORIZONS:
            row = run(latency_ms, horizon)
            rows.append({"latency_ms": latency_ms, "horizon": horizon, **row})
            print(
                f"{latency_ms:>7} ms{horizon:>10}{row['seconds']:>10.1f}{row['standing_percent']:>8.0f} %"
                f"{row['stops']:>10.0f}{row['mean_speed_m_s']:>10.3f}{row['rms_acceleration_m_s2']:>10.2f}"
                f"{row['way_m']:>10.2f}"
            )
    print(json.dumps({"control_hz": 1e9 / PERIOD_NS, "blend_steps": BLEND_STEPS, "rows": rows}))


if __name__ == "__main__":
    main()
