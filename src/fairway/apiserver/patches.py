"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386) over plain JSON values. Nothing given is changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

MAX_OPERATIONS = 10_000
"""Of one JSON patch, as in apiserver `endpoints/handlers/patch.go`."""


class PatchError(Exception):
    """The patch does not fit the document: a path that is not there, a failed test, an unknown operation."""


def merge(document: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply_operations(document: Any, operations: Sequence[Any]) -> Any:
    """RFC 6902: the operations one after the other, all or none. Raises PatchError."""
    root = {"": copy.deepcopy(document)}
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchError(f"an operation must be an object, not {operation!r}")
        _apply(root, operation)
    return root[""]


def _apply(root: dict[str, Any], operation: dict[str, Any]) -> None:
    path = _member(operation, "path")
    match operation.get("op"):
        case "add":
            _add(root, path, copy.deepcopy(_value(operation)))
        case "remove":
            _remove(root, path)
        case "replace":
            value = copy.deepcopy(_value(operation))
            parent, token = _parent(root, path)
            _get(parent, token, path)
            _set(parent, token, value)
        case "move":
            source = _member(operation, "from")
            if path.startswith(source + "/"):
                raise PatchError(f"cannot move {source} into itself")
            _add(root, path, _remove(root, source))
        case "copy":
            _add(root, path, copy.deepcopy(_get(*_parent(root, _member(operation, "from")), path)))
        case "test":
            # An absent member equals null, as in the library kube-apiserver uses (evanphx/json-patch).
            try:
                found = _get(*_parent(root, path), path)
            except PatchError:
                found = None
            if not equal(found, operation.get("value")):
                raise PatchError(f"testing value {path} failed")
        case other:
            raise PatchError(f"unexpected kind: {other}")


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(equal(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _member(operation: dict[str, Any], name: str) -> str:
    pointer = operation.get(name)
    if not isinstance(pointer, str):
        raise PatchError(f"the operation has no {name}")
    return pointer


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError("the operation has no value")
    return operation["value"]


def _parent(root: dict[str, Any], pointer: str) -> tuple[Any, str]:
    """What holds the value a pointer (RFC 6901) names, and the last token; the document itself is root[""]."""
    if pointer and not pointer.startswith("/"):
        raise PatchError(f"{pointer} is no JSON pointer")
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")]
    holder: Any = root
    for token in tokens[:-1]:
        holder = _get(holder, token, pointer)
    return holder, tokens[-1]


def _get(holder: Any, token: str, pointer: str) -> Any:
    if isinstance(holder, dict) and token in holder:
        return holder[token]
    if isinstance(holder, list):
        return holder[_index(token, len(holder) - 1)]
    raise PatchError(f"{pointer} is missing")


def _set(holder: Any, token: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[token] = value
    else:
        holder[_index(token, len(holder) - 1)] = value


def _add(root: dict[str, Any], pointer: str, value: Any) -> None:
    holder, token = _parent(root, pointer)
    if isinstance(holder, dict):
        holder[token] = value
    elif isinstance(holder, list):
        holder.insert(len(holder) if token == "-" else _index(token, len(holder)), value)  # noqa: S105 - a JSON pointer's token
    else:
        raise PatchError(f"{pointer} is missing")


def _remove(root: dict[str, Any], pointer: str) -> Any:
    holder, token = _parent(root, pointer)
    value = _get(holder, token, pointer)
    if isinstance(holder, dict):
        del holder[token]
    else:
        del holder[_index(token, len(holder) - 1)]
    return value


def _index(token: str, last: int) -> int:
    if not token.isascii() or not token.isdigit() or (len(token) > 1 and token[0] == "0") or int(token) > last:
        raise PatchError(f"{token} is no index of the array")
    return int(token)
