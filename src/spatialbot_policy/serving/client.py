"""A policy on another machine as a `Policy` here: answers within its deadline, or says by name why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import (
    ActionError,
    FrameError,
    HistoryError,
    LinkError,
    PromptError,
    ServerChanged,
    ServerLost,
    ServerRefused,
    WireError,
)
from spatialbot_policy.serving.greeting import Greeting, GreetingReader
from spatialbot_policy.serving.image_choice import ImageChoice
from spatialbot_policy.serving.image_codec import ImageMode, WireImages, plain_bytes
from spatialbot_policy.serving.key_maps import KeyMap
from spatialbot_policy.serving.link import Link, Message, Session
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.serving.messages import encode_observation
from spatialbot_policy.serving.replies import Reply, read_reply
from spatialbot_policy.serving.wire import WireLimits, pack
from spatialbot_policy.types import ActionChunk, Observation


@dataclass(frozen=True)
class RemoteTiming:
    """Where the time of one answer went, in milliseconds.

    Attributes:
        encode_ms: images fitted and compressed, message written.
        link_ms: from the first byte sent to the last received, less what the server says it took.
        decode_ms: answer read and checked.
        total_ms: all of it, the server's share included.
        sent_bytes: size of the message.
        images: how its images travelled.
        policy, server: the server's own figures, by name.
    """

    encode_ms: float
    link_ms: float
    decode_ms: float
    total_ms: float
    sent_bytes: int
    images: ImageMode
    policy: Mapping[str, float] = field(default_factory=dict)
    server: Mapping[str, float] = field(default_factory=dict)


class RemotePolicy:
    """Answers observations by asking a server.

    The server keeps the history. So once a link has failed, the episode is over: `act` repeats the error
    until `reset` begins another, on a connection that a thread has made meanwhile. A server that comes back
    with another checkpoint is turned down until `accept_change`.

    Only one thread may use `act` and `reset`; all else may be called from any.

    Args:
        url: ws://HOST:PORT or wss://HOST:PORT.
        settings: deadlines, key, way of the images.
        expected: what the server's policy must be. A server that does not say what it runs needs it.
        keys: of the observations, where they are not our own.

    Raises:
        ConfigError: an address, key or file that cannot be used.
        LinkError: no server, or not the right one; only if the settings need one now.
    """

    def __init__(
        self,
        url: str,
        settings: LinkSettings | None = None,
        expected: PolicyConfig | None = None,
        keys: KeyMap | None = None,
    ) -> None:
        self._settings = settings = LinkSettings() if settings is None else settings
        self._reader = GreetingReader(url, settings.images, expected, keys)
        self._limits = WireLimits(message_bytes=settings.max_reply_bytes)
        self._identity = threading.Lock()
        self._known: Greeting | None = None
        self._choice = ImageChoice(settings.timeout_s * 1e3)
        self._begins = True
        self._fault: Exception | None = None
        self.timing: RemoteTiming | None = None
        self._link = Link(url, settings, self._greet)
        self._session: Session | None = None
        if settings.needs_server:
            self._session = self._link.wait(settings.connect_timeout_s)
            if self._session is None:
                fault = self._link.fault
                self.close()
                raise fault

    def _greet(self, message: Message) -> Greeting:
        """Read a greeting in the link's thread, and compare it with the first one."""
        greeting = self._reader(message)
        with self._identity:
            if self._known is None:
                self._known = greeting
            if greeting.fingerprint != self._known.fingerprint or greeting.config != self._known.config:
                now, before = (known.fingerprint[:12] for known in (greeting, self._known))
                raise ServerChanged(
                    f"{self._reader.url} now runs checkpoint {now}, and {before} when this client started; "
                    "restart the client (policy_node) to accept it, or the server with the former checkpoint"
                )
        return greeting

    @property
    def config(self) -> PolicyConfig | None:
        """What the server's policy promises; None until the first connection."""
        with self._identity:
            return None if self._known is None else self._known.config

    @property
    def fingerprint(self) -> str:
        """Of the server's checkpoint; "" until the first connection, or where the server does not say."""
        with self._identity:
            return "" if self._known is None else self._known.fingerprint

    @property
    def unavailable(self) -> LinkError | None:
        """Why an episode could not begin now; None when it could."""
        return None if self._link.session is not None else self._link.fault

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._link.connections

    def accept_change(self) -> None:
        """Take the checkpoint that the server runs now, whatever it was before."""
        with self._identity:
            self._known = None
        self._link.retry_now()

    def reset(self) -> None:
        """Begin a new episode, on the connection that lives now.

        It waits for one no longer than `reset_wait_s`. Without one, `act` says why.
        """
        self._fault, self._begins = None, True
        self._session = self._link.session
        if self._session is None and self._settings.reset_wait_s > 0:
            self._link.retry_now()
            self._session = self._link.wait(self._settings.reset_wait_s)

    def act(self, observation: Observation) -> ActionChunk:
        """Ask the server about one observation.

        Raises:
            FrameError, HistoryError, PromptError: of the observation; the server's history stays as it was.
            ActionError: the answer's actions are not finite or beyond the bounds; the episode is over.
            LinkError: no answer to rely on; the episode is over.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            return self._ask(observation)
        except (FrameError, HistoryError, PromptError):
            raise  # the observation was at fault: the history is as it was, and the episode may go on
        except Exception as error:
            self._fault = error
            raise

    def close(self) -> bool:
        """End the connection; False when its thread does not end in time."""
        return self._link.close()

    def _ask(self, observation: Observation) -> ActionChunk:
        began = time.perf_counter()
        session = self._session
        if session is None:
            raise self._link.fault
        if session.fault is not None:
            raise session.fault.with_traceback(None)
        greeting = session.greeting
        mode = self._choice.mode if greeting.images is ImageMode.AUTO else greeting.images
        images = WireImages(mode, greeting.config)
        message = encode_observation(observation, greeting.config, images, self._begins, greeting.keys)
        data = pack(message)
        self._check_size(len(data), greeting)
        sent = time.perf_counter()
        left_s = max(1e-3, self._settings.timeout_s - (sent - began))
        reply = self._link.ask(session, data, left_s)
        received = time.perf_counter()
        answer = self._checked(reply, session, observation.stamp_ns)
        self._begins = False
        ended = time.perf_counter()
        worked_ms = answer.server.get("infer_ms", answer.policy.get("infer_ms", 0.0))
        worked_ms += answer.server.get("queue_ms", 0.0)
        self.timing = timing = RemoteTiming(
            encode_ms=(sent - began) * 1e3,
            link_ms=max(0.0, (received - sent) * 1e3 - worked_ms),
            decode_ms=(ended - received) * 1e3,
            total_ms=(ended - began) * 1e3,
            sent_bytes=len(data),
            images=mode,
            policy=answer.policy,
            server=answer.server,
        )
        if greeting.images is ImageMode.AUTO:
            self._choice.note(timing.encode_ms + timing.link_ms, len(data), plain_bytes(message))
        return answer.chunk

    def _checked(self, reply: Message, session: Session, stamp_ns: int) -> Reply:
        """The answer, if it is one to this observation; after anything else the connection is cut."""
        url = self._reader.url
        try:
            return read_reply(reply, session.greeting, stamp_ns, url, self._limits)
        except (
            LinkError
        ) as error:  # the server may be about to hang up: the next episode needs a new connection
            self._link.cut(session, error)
            raise
        except WireError as error:
            lost = ServerLost(f"{url} gave an answer that is none, so the link was cut: {error}")
            self._link.cut(session, lost)
            raise lost from error
        except ActionError as error:
            self._link.cut(session, ServerLost(f"the link to {url} was cut after an impossible action"))
            raise ActionError(f"{url} answered with an impossible action: {error}") from error

    def _check_size(self, size: int, greeting: Greeting) -> None:
        most = greeting.max_message_bytes
        if most is not None and size > most:
            raise ServerRefused(
                f"an observation takes {size} bytes, {self._reader.url} allows {most}; send its images as "
                "'fit' (server_images), or allow more there"
            )
