"""An object as the API carries it."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON: unknown fields must survive a round trip, so it stays a dict."""


class Key(NamedTuple):
    """Namespace and name; the namespace of cluster-scoped objects is ""."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> Key:
    """The key of an object that has metadata."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])
