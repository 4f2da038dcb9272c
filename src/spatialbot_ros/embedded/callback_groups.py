"""Callback groups: which callbacks of a node may run at the same time."""

from __future__ import annotations

import weakref
from typing import Any

from spatialbot_ros.embedded.bus import BUS


class CallbackGroup:
    """Base of both kinds; the executor asks it before it runs a callback, holding the lock of the bus."""

    def __init__(self) -> None:
        self.entities: weakref.WeakSet[Any] = weakref.WeakSet()

    def add_entity(self, entity: Any) -> None:
        """Put an entity under the rule of this group."""
        self.entities.add(entity)

    def has_entity(self, entity: Any) -> bool:
        """Whether the entity belongs to this group."""
        return entity in self.entities

    def can_execute(self, entity: Any) -> bool:
        """Whether a callback of the entity may run now."""
        raise NotImplementedError("use a MutuallyExclusiveCallbackGroup or a ReentrantCallbackGroup")

    def beginning_execution(self, entity: Any) -> bool:
        """Note that a callback starts; False if it must not."""
        raise NotImplementedError("use a MutuallyExclusiveCallbackGroup or a ReentrantCallbackGroup")

    def ending_execution(self, entity: Any) -> None:
        """Note that a callback has ended."""
        raise NotImplementedError("use a MutuallyExclusiveCallbackGroup or a ReentrantCallbackGroup")


class ReentrantCallbackGroup(CallbackGroup):
    """Callbacks run side by side, also several of one entity."""

    def can_execute(self, entity: Any) -> bool:
        """Allow always."""
        return True

    def beginning_execution(self, entity: Any) -> bool:
        """Allow always."""
        return True

    def ending_execution(self, entity: Any) -> None:
        """Nothing to note."""


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    """Callbacks run one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._active: Any = None

    def can_execute(self, entity: Any) -> bool:
        """Allow while no callback of the group runs."""
        return self._active is None

    def beginning_execution(self, entity: Any) -> bool:
        """Take the turn if nobody has it."""
        with BUS.lock:
            if self._active is not None:
                return False
            self._active = entity
            return True

    def ending_execution(self, entity: Any) -> None:
        """Give the turn back."""
        with BUS.lock:
            self._active = None
