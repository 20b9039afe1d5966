"""The ways a field can be wrong, in the words of a real server (apimachinery `util/validation/field/errors.go`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fairway.api.status import Cause


def required(path: str, detail: str = "") -> Cause:
    return _cause("FieldValueRequired", path, "Required value", detail)


def invalid_value(path: str, value: Any, detail: str) -> Cause:
    return _cause("FieldValueInvalid", path, f"Invalid value: {shown(value)}", detail)


def not_supported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    detail = ", ".join(json.dumps(name) for name in supported)
    return _cause("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}", f"supported values: {detail}")


def duplicate(path: str, value: Any) -> Cause:
    return _cause("FieldValueDuplicate", path, f"Duplicate value: {shown(value)}")


def not_found(path: str, value: Any) -> Cause:
    return _cause("FieldValueNotFound", path, f"Not found: {shown(value)}")


def forbidden(path: str, detail: str) -> Cause:
    return _cause("FieldValueForbidden", path, "Forbidden", detail)


def too_long(path: str, limit: int) -> Cause:
    return _cause("FieldValueTooLong", path, "Too long", f"may not be more than {limit} bytes")


def too_many(path: str, actual: int, limit: int) -> Cause:
    return _cause("FieldValueTooMany", path, f"Too many: {actual}", f"must have at most {limit} items")


def immutable(path: str, new: Any, old: Any) -> list[Cause]:
    """One cause where `new` differs from `old`."""
    return [] if new == old else [invalid_value(path, new, "field is immutable")]


def non_negative(path: str, value: int) -> list[Cause]:
    return [] if value >= 0 else [invalid_value(path, value, "must be greater than or equal to 0")]


def one_of(path: str, value: str | None, supported: Iterable[str]) -> list[Cause]:
    """Required where the value is missing, Unsupported where it is none of `supported` (shown in the order given)."""
    if not value:
        return [required(path)]
    choices = tuple(supported)
    return [] if value in choices else [not_supported(path, value, choices)]


def all_invalid(path: str, value: Any, details: Iterable[str]) -> list[Cause]:
    """One cause for each detail."""
    return [invalid_value(path, value, detail) for detail in details]


def shown(value: Any) -> str:
    """A value as messages show it: text quoted, the rest compact JSON with Go's escapes, None as null."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _cause(reason: str, path: str, head: str, detail: str = "") -> Cause:
    return Cause(reason=reason, message=f"{head}: {detail}" if detail else head, field=path)
