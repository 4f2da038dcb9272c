"""Errors at the project's boundaries: each names its cause and the parameter or command that mends it."""


class SpatialBotError(ValueError):
    """Base of every error a user can cause and mend; the message says how."""


class FrameError(SpatialBotError):
    """A camera frame that must not reach the policy: wrong type, unit, size or no valid depth."""


class HistoryError(SpatialBotError):
    """Observations that do not form a history: stamps that stand still or run backwards."""


class ActionError(SpatialBotError):
    """An action, token sequence or text that is not a valid action."""


class ConfigError(SpatialBotError):
    """A configuration with unknown keys, wrong types or values outside their range."""


class EpisodeError(SpatialBotError):
    """An episode or data set that is truncated, foreign, damaged or of another schema."""


class CheckpointError(SpatialBotError):
    """A checkpoint that is incomplete or disagrees with what was asked of it."""


class TaskError(SpatialBotError):
    """An unknown task or family, or a seed list that is not allowed."""


class PromptError(SpatialBotError):
    """An instruction or answer that cannot be written into, or read from, the prompt's form."""


class ConversationError(SpatialBotError):
    """A conversation that cannot be learned from or asked: roles, placeholders, images or length."""
