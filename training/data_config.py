"""What a run learns from: episodes, files of conversations, and how a batch is drawn from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.errors import ConfigError

EPISODES = "episodes"
"""The name of the recorded episodes in a mixture."""


@dataclass(frozen=True)
class ConversationSet:
    """One file of conversations in the authors' form.

    Attributes:
        name: by which the mixture and the log speak of it.
        file: a JSON list of conversations.
        images: folder that the paths of images start from; None is the file's own.

    Raises:
        ConfigError: no name, or that of the episodes.
    """

    name: str
    file: Path
    images: Path | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name == EPISODES:
            raise ConfigError(
                f"a file of conversations needs a name, and '{EPISODES}' means the episodes; "
                f"got '{self.name}' for {self.file}"
            )

    @property
    def folder(self) -> Path:
        """Where the paths of images start."""
        return self.file.parent if self.images is None else self.images


@dataclass(frozen=True)
class DataConfig:
    """Which episodes and conversations are learned from, and how a batch is drawn from them.

    A batch holds stills and stretches of demonstrations; or, when `batch` is given, examples drawn by weight
    from a mixture of conversations and stretches of episodes.

    Attributes:
        train: data sets of episodes to learn from.
        validation: data sets to measure the open-loop error on; their seeds must not be in `train`.
        stills_per_batch: single images with random arm poses in each batch.
        stills_per_localisation_batch: the same in the localisation phase.
        demonstrations_per_localisation_batch: beside them, single steps of demonstrations, each as likely.
        windows_per_batch: stretches of demonstrations in each batch.
        window_steps: consecutive steps in a stretch; their histories share frames, each encoded once.
        approach_weight: how much more often a stretch begins where the gripper is open.
        reading_weight: how much more often steps are drawn at which the words alone say what is meant: the
            scene has several objects, and the tool is at none of them yet (see `undecided`).
        conversations: files to learn to converse from.
        conversation_validation: files whose loss is measured, and some of whose answers are written down.
        batch: conversations and stretches of the mixture in each batch, in all processes together.
        token_budget: tokens of a batch with its padding, at most; 0 for no limit.
        mixture: how often each file (by name) and the episodes ("episodes") are drawn from, in any unit;
            empty draws from each file as often as it is long.
        max_length: tokens that one example may have; longer ones are an error.
        captions: drop the questions' words, as the projector's alignment does.
        skip_bad: leave out conversations that cannot be used, and list them, instead of an error.
        workers: processes that prepare batches in advance; 0 prepares them in the training process.
        cache_features: encode every step once with the frozen tower, and train on what it sees; needs
            `parts.vision: frozen` and episodes alone.

    Raises:
        ConfigError: a value outside its range, a data set in both lists, or a mixture of unknown names.
    """

    train: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    stills_per_batch: int = 64
    stills_per_localisation_batch: int = 96
    demonstrations_per_localisation_batch: int = 0
    windows_per_batch: int = 8
    window_steps: int = 4
    approach_weight: float = 1.0
    reading_weight: float = 1.0
    conversations: tuple[ConversationSet, ...] = ()
    conversation_validation: tuple[ConversationSet, ...] = ()
    batch: int = 0
    token_budget: int = 0
    mixture: dict[str, float] = field(default_factory=dict)
    max_length: int = 2048
    captions: bool = False
    skip_bad: bool = False
    workers: int = 0
    cache_features: bool = False

    def __post_init__(self) -> None:
        counts = (
            self.stills_per_batch,
            self.windows_per_batch,
            self.stills_per_localisation_batch,
            self.demonstrations_per_localisation_batch,
        )
        if not self.draws_episodes and not self.batch:
            raise ConfigError(
                "name at least one train data set, and stills or windows for a batch; or conversations, "
                "and a batch of the mixture"
            )
        if min(counts) < 0 or self.window_steps < 1 or min(self.approach_weight, self.reading_weight) <= 0:
            raise ConfigError(
                "stills and windows must be 0 or more, window_steps at least 1, and approach_weight and "
                "reading_weight above 0"
            )
        if min(self.batch, self.workers, self.token_budget) < 0 or self.max_length < 1:
            raise ConfigError("batch, workers and token_budget must be 0 or more, and max_length at least 1")
        _refuse_shared(self.train, self.validation)
        _refuse_shared(
            (source.file for source in self.conversations),
            (source.file for source in self.conversation_validation),
        )
        self._check_mixture()
        if self.cache_features and (self.conversations or not self.train):
            raise ConfigError(
                "data.cache_features encodes the steps of episodes; images of conversations are not kept, so "
                "train on episodes alone or leave it out"
            )

    def _check_mixture(self) -> None:
        names = [source.name for source in self.conversations]
        if len(set(names)) != len(names):
            raise ConfigError(f"two files of conversations have one name, of {', '.join(names)}; rename one")
        if bool(self.batch) != bool(self.conversations or self.mixture):
            raise ConfigError(
                "data.batch is the number of examples drawn from data.conversations and data.mixture; give "
                "both or neither"
            )
        known = {*names, *([EPISODES] if self.train else [])}
        unknown = sorted(set(self.mixture) - known)
        if unknown:
            raise ConfigError(
                f"data.mixture names '{unknown[0]}'; known are {', '.join(sorted(known)) or 'none'}"
            )
        missing = sorted(set(names) - set(self.mixture)) if self.mixture else []
        if missing or any(weight <= 0 for weight in self.mixture.values()):
            raise ConfigError(
                f"data.mixture must give each file a weight above 0{_of(missing)}; take out the files that "
                "are not to be used"
            )

    @property
    def draws_episodes(self) -> bool:
        """Whether batches hold stills and stretches of demonstrations, and nothing of a mixture."""
        return bool(self.train) and not self.batch and self.stills_per_batch + self.windows_per_batch > 0

    @property
    def localisation_batch(self) -> int:
        """Steps in each batch of the localisation phase."""
        return self.stills_per_localisation_batch + self.demonstrations_per_localisation_batch

    @property
    def weights(self) -> list[float] | None:
        """Of the episodes (if there are any) and of each file, as a mixture takes them; None for sizes."""
        if not self.mixture:
            return None
        names = [EPISODES] * bool(self.train) + [source.name for source in self.conversations]
        return [self.mixture.get(name, 0.0) for name in names]


def _of(names: list[str]) -> str:
    return f" (there is none for {', '.join(names)})" if names else ""


def _refuse_shared(train: Iterable[Path], validation: Iterable[Path]) -> None:
    shared = {path.resolve() for path in train} & {path.resolve() for path in validation}
    if shared:
        names = ", ".join(sorted(map(str, shared)))
        raise ConfigError(f"{names} in train and in validation; keep them apart")
