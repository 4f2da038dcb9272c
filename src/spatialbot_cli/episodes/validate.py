"""`spatialbot episodes validate`: checks episodes down to each message, several at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, default_jobs, print_partials, progress, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.check import problems_of
from spatialbot_policy.episodes.dataset_index import note_problems
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.parallel import each


@dataclass(frozen=True)
class Validate:
    """Check checksums, contract, counts, stamps and that every step is complete; status 1 if one is not.

    Example: spatialbot episodes validate data/pick
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: tuple[int, ...] = ()
    """Only these episodes."""

    jobs: int | None = None
    """Episodes to check at the same time; by default as many as there are processor cores, at most 8."""

    def run(self, console: Console) -> int:
        """Verify the episodes and print what is wrong with each damaged one; the index keeps the marks."""
        if self.jobs is not None and self.jobs < 1:
            raise EpisodeError(f"--jobs {self.jobs} checks nothing; give 1 or more")
        dataset = Dataset(self.dataset)
        indices = list(self.index) or dataset.indices()
        problems: dict[int, str] = {}
        with progress(console, "validating") as report:
            work = [(self.dataset, index) for index in indices]
            for done, problem in enumerate(each(_check, work, self.jobs or default_jobs()), start=1):
                problems[indices[done - 1]] = problem
                report(done, len(indices))
        note_problems(dataset, problems)
        bad = {index: problem for index, problem in problems.items() if problem}
        for index, problem in bad.items():
            tell(console, f"{index:06d}: {problem}", "red")
        tell(console, f"{len(indices) - len(bad)} of {len(indices)} episodes are good")
        print_partials(console, dataset)
        return 1 if bad else 0


def _check(work: tuple[Path, int]) -> str:
    directory, index = work
    return "; ".join(problems_of(Dataset(directory), index))
