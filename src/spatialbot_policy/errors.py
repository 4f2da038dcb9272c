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


class RecordingError(SpatialBotError):
    """What an operator asked for does not fit the state of the recording; nothing was changed by it."""


class InterchangeError(SpatialBotError):
    """A foreign recording or data set that cannot be carried over, or a target that is taken."""


class CheckpointError(SpatialBotError):
    """A checkpoint that is incomplete or disagrees with what was asked of it."""


class TaskError(SpatialBotError):
    """An unknown task or family, or a seed list that is not allowed."""


class PromptError(SpatialBotError):
    """An instruction or answer that cannot be written into, or read from, the prompt's form."""


class ConversationError(SpatialBotError):
    """A conversation that cannot be learned from or asked: roles, placeholders, images or length."""


class WireError(SpatialBotError):
    """Bytes from the network that are no message, one of another form, or one that is too large."""


class LinkError(SpatialBotError):
    """A policy server that gives no answer to rely on; after one of these only a new episode may go on."""


class ServerLost(LinkError):
    """The server cannot be reached, went away, or what came from it was no message."""


class ServerSlow(LinkError):
    """No answer within the deadline."""


class ServerChanged(LinkError):
    """The server now runs another checkpoint, or one that is not what was expected."""


class ServerRefused(LinkError):
    """The server would not do it: a wrong key, a full house, or an error of its own."""


class RequestError(SpatialBotError):
    """A message to the policy server whose keys or values are not an observation."""


class BusyError(SpatialBotError):
    """The policy server cannot take this observation now; a later one may be answered."""


class ReplacedError(SpatialBotError):
    """A newer observation of the same client came before this one was begun; it is never answered."""


class InferenceTimeoutError(SpatialBotError):
    """The policy worked on an observation for longer than the server allows."""
