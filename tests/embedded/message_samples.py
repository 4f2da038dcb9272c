"""Random messages, each as the embedded graph has it and as rosbags has it, made of the same plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from rosbags.interfaces import Nodetype

from spatialbot_ros.embedded.interfaces import interfaces

DTYPES = {"bool": np.bool_, "byte": np.int8, "char": np.uint8}


def stored_names() -> list[str]:
    """Every structure that is serialised: messages and the parts of services and actions."""
    return sorted(interfaces().store.fielddefs)


@st.composite
def twins(draw: st.DrawFn, stored: str) -> tuple[Any, Any]:
    """A message and its rosbags twin."""
    ours, theirs = {}, []
    for name, kind in interfaces().store.fielddefs[stored][1]:
        if name == "structure_needs_at_least_one_member":
            theirs.append(0)
        else:
            ours[name], other = draw(_values(kind))
            theirs.append(other)
    return interfaces().get(stored)(**ours), interfaces().store.types[stored](*theirs)


def _values(kind: Any) -> st.SearchStrategy[tuple[Any, Any]]:
    node, details = kind
    if node == Nodetype.BASE:
        return _scalars(*details)
    if node == Nodetype.NAME:
        return twins(details)
    item, count = details
    fixed = node == Nodetype.ARRAY
    # long enough for padding between elements to show, short enough for messages within messages
    sizes = {"min_size": count, "max_size": count} if fixed else {"max_size": min(count or 3, 3)}
    return st.lists(_values(item), **sizes).map(lambda pairs: _both(item, pairs))


def _both(item: Any, pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if item[0] == Nodetype.BASE and item[1][0] != "string":
        name = item[1][0]
        return ours, np.array(theirs, dtype=DTYPES.get(name, name))
    return ours, theirs


def _scalars(name: str, bound: int) -> st.SearchStrategy[tuple[Any, Any]]:
    if name == "string":
        alphabet = st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))
        return st.text(alphabet, max_size=bound or 8).map(lambda value: (value, value))
    if name == "byte":
        return st.integers(0, 255).map(lambda value: (bytes((value,)), value - 256 * (value > 127)))
    if name == "bool":
        return st.booleans().map(lambda value: (value, value))
    if name == "float32":  # rclpy refuses the very largest ones
        return st.floats(-(2.0**127), 2.0**127, width=32).map(lambda value: (value, value))
    if name == "float64":
        return st.floats(allow_nan=False).map(lambda value: (value, value))
    info = np.iinfo(DTYPES.get(name, name))
    return st.integers(int(info.min), int(info.max)).map(lambda value: (value, value))
