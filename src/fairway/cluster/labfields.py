"""Where in a lab file something is wrong: the field, and its line. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from fairway.base.errors import Refused

_STEPS = re.compile(r"\[(\d+)\]|([A-Za-z]\w*)")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WrongField(Refused):
    """A field that cannot be meant so. field: as in "nodes[1].podCIDR"; "" for the file as a whole."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field


def placed(error: Refused, *, source: str, text: str = "") -> Refused:
    """The error with the name of the file, and with the line where `text`, the file's, has the field."""
    steps = steps_of(error.field) if isinstance(error, WrongField) else ()
    return Refused(f"{place_of(steps, source=source, text=text)}: {error}")


def place_of(steps: Sequence[str | int], *, source: str, text: str) -> str:
    """The file, and the line of what stands there."""
    line = line_of(steps, text)
    return source if line is None else f"{source}, line {line}"


def steps_of(field: str) -> tuple[str | int, ...]:
    """The keys and places that lead to a field: "nodes[1].podCIDR" is ("nodes", 1, "podCIDR")."""
    return tuple(int(index) if index else name for index, name in _STEPS.findall(field))


def line_of(steps: Sequence[str | int], text: str) -> int | None:
    """The line, from 1, of what is there or of what it would be in; None where the text has nothing of it."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None
    line: int | None = None
    for each in steps:
        step = _step(node, each) if isinstance(each, str) else _item(node, each)
        if step is None:
            break
        mark, node = step
        line = mark.start_mark.line + 1
    return line


def _step(node: Any, name: str) -> tuple[Any, Any] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next(((key, value) for key, value in pairs if key.value == name), None)


def _item(node: Any, index: int) -> tuple[Any, Any] | None:
    items = node.value if isinstance(node, yaml.SequenceNode) else ()
    return (items[index], items[index]) if index < len(items) else None
