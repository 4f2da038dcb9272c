"""Substitutions of YAML launch files, `$(var name)` and the like, with the meaning that ROS 2 gives them."""

from __future__ import annotations

import ast
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.embedded.share import share_directory

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}


@dataclass(frozen=True)
class Scope:
    """What substitutions can see.

    Attributes:
        variables: values of the launch arguments and `let`s.
        file: the launch file that is being read.
    """

    variables: Mapping[str, str]
    file: Path

    def resolve(self, text: str) -> str:
        """Replace every `$(...)` in a text, innermost first.

        Raises:
            ConfigError: an unknown substitution, variable or package, or an unbalanced bracket.
        """
        start = text.rfind("$(")
        while start >= 0:
            end = _closing(text, start + 2)
            if end < 0:
                raise ConfigError(f"{self.file}: '$(' without ')' in {text!r}")
            text = text[:start] + self._one(text[start + 2 : end].strip()) + text[end + 1 :]
            start = text.rfind("$(")
        return text

    def _one(self, inside: str) -> str:
        name, _, rest = inside.partition(" ")
        rest = rest.strip()
        known = {
            "var": self._var,
            "env": _env,
            "find-pkg-share": share_directory,
            "dirname": lambda _: str(self.file.resolve().parent),
            "eval": lambda text: evaluate(_unquoted(text), str(self.file)),
        }
        if name not in known:
            raise ConfigError(
                f"{self.file}: unknown substitution '$({inside})'; the embedded graph knows "
                f"{', '.join(known)}"
            )
        return str(known[name](rest))

    def _var(self, name: str) -> str:
        if name not in self.variables:
            declared = ", ".join(sorted(self.variables)) or "none"
            raise ConfigError(
                f"{self.file}: launch argument '{name}' is not declared above its use; there are: {declared}"
            )
        return self.variables[name]


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes a substitution; brackets inside it count."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return -1


def _env(rest: str) -> str:
    name, _, default = rest.partition(" ")
    if name in os.environ:
        return os.environ[name]
    if not default:
        raise ConfigError(f"environment variable '{name}' is not set; set it, or write $(env {name} default)")
    return _unquoted(default.strip())


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    # `'a' == 'b'` begins and ends with a quote too, but is no quoted text
    return text[1:-1] if quoted and text[0] not in text[1:-1] else text


def evaluate(expression: str, where: str) -> str:
    """Evaluate `$(eval ...)`: literals, comparisons, `and`, `or`, `not`, conditional expressions.

    Raises:
        ConfigError: anything else; a launch file is not a program.
    """
    try:
        return str(_value(ast.parse(expression.strip(), mode="eval").body))
    except (SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: cannot evaluate {expression!r} ({error}); use literals, comparisons, and, or, not, if"
        ) from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BoolOp):
        decide = all if isinstance(node.op, ast.And) else any
        return decide(_value(item) for item in node.values)
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test) else node.orelse)
    if isinstance(node, ast.Compare):
        values = [_value(item) for item in (node.left, *node.comparators)]
        pairs = zip(node.ops, values, values[1:], strict=False)
        return all(_COMPARISONS[type(operation)](left, right) for operation, left, right in pairs)
    if isinstance(node, ast.Name) and node.id.lower() in ("true", "false"):
        return node.id.lower() == "true"  # as launch arguments write it
    raise ValueError(f"'{ast.unparse(node)}' is not allowed")
