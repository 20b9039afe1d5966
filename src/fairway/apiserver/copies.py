"""Copies of objects."""

from __future__ import annotations

from typing import Any, TypeVar, cast

T = TypeVar("T")


def copy_of(value: T) -> T:
    """A JSON value with dicts and lists of its own; several times as fast as copy.deepcopy, which looks for cycles."""
    return cast("T", _copied(value))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
