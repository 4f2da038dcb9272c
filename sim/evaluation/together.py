"""Several episodes in one process: their simulators take turns, a checkpoint answers all of them at once."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from spatialbot_policy.types import ActionChunk, Observation, Policy
from spatialbot_sim.evaluation.film import Film
from spatialbot_sim.evaluation.plan import EpisodeJob
from spatialbot_sim.evaluation.player import PlayerSetup, Simulators, keep_film
from spatialbot_sim.evaluation.rollout import EpisodeResult, play
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.workers import Finished

End = Finished[EpisodeJob, EpisodeResult]


def play_together(
    setup: PlayerSetup,
    jobs: Sequence[EpisodeJob],
    seats: int,
    tries: int = 2,
    report: Callable[[str], None] = print,
) -> Iterator[End]:
    """Play all episodes, up to `seats` at a time, and yield each as it ends, in any order.

    Each has its own simulator and history, so that it ends as it would alone, but for the rounding of a
    batch's sums. One that fails is tried again; the others do not notice.

    Args:
        setup: what the episodes need.
        jobs: to play.
        seats: how many at a time.
        tries: how often an episode is tried before it counts as an error.
        report: told of every failed try.
    """
    waiting = deque((job, 1) for job in jobs)
    table = [_Seat(setup) for _ in range(min(seats, len(jobs)))]
    try:
        while waiting or any(seat.taken for seat in table):
            for seat in table:
                if waiting and not seat.taken:
                    seat.begin(*waiting.popleft(), table)
            _ask([seat for seat in table if seat.taken])
            for seat in table:
                end = seat.go_on() if seat.taken else None
                if end is None:
                    continue
                if end.error is not None and seat.attempt < tries:
                    report(f"{end.job}: {end.error.splitlines()[-1]}; trying again")
                    waiting.append((end.job, seat.attempt + 1))
                    continue
                if end.error is not None:
                    report(f"{end.job}: {end.error}")
                yield end
    finally:
        for seat in table:
            seat.close()


class _Seat:
    """A simulator and the episode that is played in it."""

    def __init__(self, setup: PlayerSetup) -> None:
        self._setup, self._simulators = setup, Simulators(setup)
        self._policies: dict[tuple[str, SimRobot], Policy] = {}
        self._robot: SimRobot
        self._job: EpisodeJob | None = None
        self._playing: Generator[Observation, ActionChunk, EpisodeResult]
        self._film: Film | None = None
        self.attempt = 1
        self.observation: Observation | None = None
        self.answer: ActionChunk | Exception | None = None

    @property
    def taken(self) -> bool:
        """Whether an episode is played here."""
        return self._job is not None

    @property
    def name(self) -> str:
        """Of the policy that plays."""
        return "" if self._job is None else self._job.policy

    @property
    def policy(self) -> Policy:
        """That policy; there is one wherever there is an observation."""
        return self._policies[self.name, self._robot]

    def begin(self, job: EpisodeJob, attempt: int, table: Sequence[_Seat]) -> None:
        """Begin an episode; what fails here counts as the answer to the first observation."""
        self._job, self.attempt = job, attempt
        self._film = Film() if job.film else None
        self.observation, self.answer = None, None
        try:
            self._robot = self._simulators.robot_for(job)
            if (job.policy, self._robot) not in self._policies:
                self._policies[job.policy, self._robot] = self._make(job.policy, table)
            self.policy.reset()
            self._playing = play(self._robot, job.seed, self._setup.max_steps, job.family, self._film)
            self.observation = next(self._playing)
        except Exception as error:  # the simulator and a policy are foreign code
            self.answer = error

    def go_on(self) -> End | None:
        """Take the answer; how the episode ended, if it did."""
        job, answer = self._job, self.answer
        if job is None or answer is None:
            return None
        try:
            if isinstance(answer, Exception):
                raise answer
            self.answer = None
            self.observation = self._playing.send(answer)
            return None
        except StopIteration as stop:
            result: EpisodeResult = stop.value
            if self._film is not None:
                result = keep_film(self._film, result, job, self._setup.out, self._robot)
            end = End(job, result)
        except Exception:
            end = End(job, None, traceback.format_exc())
        self._job = None
        return end

    def close(self) -> None:
        """Release the simulator."""
        self._simulators.close()

    def _make(self, name: str, table: Sequence[_Seat]) -> Policy:
        """A policy; of one that another seat has loaded, one more on the same engine."""
        known: list[Any] = [
            policy for seat in table for (own, _), policy in seat._policies.items() if own == name
        ]
        if known and hasattr(known[0], "another"):
            return known[0].another()  # type: ignore[no-any-return]
        return self._setup.make(name, self._robot, self._setup.device)


def _ask(seats: Sequence[_Seat]) -> None:
    """Answer every seat's observation: those of one checkpoint together, the others one by one."""
    asking = [seat for seat in seats if seat.observation is not None]
    for name in dict.fromkeys(seat.name for seat in asking):
        group = [seat for seat in asking if seat.name == name]
        asked: list[tuple[Any, Any]] = [(seat.policy, seat.observation) for seat in group]
        together = getattr(asked[0][0], "act_together", _one_by_one)
        for seat, answer in zip(group, together(asked), strict=True):
            seat.answer, seat.observation = answer, None


def _one_by_one(asked: Sequence[tuple[Policy, Observation]]) -> list[ActionChunk | Exception]:
    """What each policy answers, or raises."""
    answers: list[ActionChunk | Exception] = []
    for policy, observation in asked:
        try:
            answers.append(policy.act(observation))
        except Exception as error:  # a policy is foreign code
            answers.append(error)
    return answers
