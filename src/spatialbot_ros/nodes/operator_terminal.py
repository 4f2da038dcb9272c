"""The operator's terminal: a panel that redraws itself, or lines where it cannot; keys become orders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spatialbot_ros.logic.operator_keys import OPERATOR_HELP, OperatorKeys, Order
from spatialbot_ros.logic.operator_view import (
    OperatorView,
    lines_between,
    progress_line,
    rings,
    state_line,
    task_line,
)
from spatialbot_ros.logic.recording_flow import State

_STYLES = {
    str(State.IDLE): "bold",
    str(State.COUNTDOWN): "bold yellow",
    str(State.RECORDING): "bold white on red",
    str(State.REVIEW): "bold cyan",
}


class OperatorTerminal:
    """Shows the recorder's state and takes orders; one thread uses it.

    Args:
        send: carries an order out; its answer comes back in the view, or through `tell`.
        console: where to show; a panel on a terminal, otherwise lines on change. None for standard output.
        bell: ring the terminal's bell when a recording starts and ends.
    """

    def __init__(
        self, send: Callable[[Order], None], console: Console | None = None, bell: bool = True
    ) -> None:
        self._send = send
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._bell = bell
        self._keys = OperatorKeys()
        self._view: OperatorView | None = None
        self._aside = ""
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(self._drawn(), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)

    def show(self, values: Mapping[str, str]) -> None:
        """Show a status of the recorder, by its values."""
        before, self._view = self._view, OperatorView.from_values(values)
        if self._bell and rings(before, self._view):
            self._console.bell()
        if before is None or before.answers != self._view.answers:
            self._aside = ""
        if self._live is None:
            self._print(lines_between(before, self._view))
        elif before != self._view:
            self._draw()

    def tell(self, text: str) -> None:
        """Show what does not come from the recorder."""
        if text == self._aside:
            return
        self._aside = text
        if self._live is None:
            self._print([text])
        self._draw()

    def press(self, keys: Iterable[str]) -> None:
        """Take keys that were pressed."""
        for key in keys:
            order = self._keys.press(key)
            if order is not None:
                self._send(order)
        if self._live is not None:
            self._draw()

    def close(self) -> None:
        """Leave the terminal as it is, with the last state on it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)

    def _drawn(self) -> Panel:
        view = self._view
        if view is None:
            return Panel(Text(self._aside or "waiting for the recorder ..."), title="recording")
        grid = Table.grid(padding=(0, 2))
        grid.add_row("instruction", Text(view.instruction or "none: i types one", style="bold"))
        if view.task:
            grid.add_row("task", Text(task_line(view)))
        if view.total:
            grid.add_row("list", Text(progress_line(view)))
        for warning in view.warnings:
            grid.add_row(Text("warning", style="yellow"), Text(warning, style="yellow"))
        told = Text(self._aside or view.told, style="red" if view.refused and not self._aside else "")
        state = Text(state_line(view), style=_STYLES.get(view.state, "bold"))
        parts: list[RenderableType] = [state, grid, told]
        parts.append(Text(self._keys.prompt or OPERATOR_HELP, style="" if self._keys.prompt else "dim"))
        return Panel(Group(*parts), title="recording")
