"""The answer to a list, of which no more is decoded at a time than is looked at. Pure.

Ten thousand EndpointSlices as dicts beside the values that are read from them are several times their own size, and
what they leave behind in the heap is never given back. So each item stays the bytes it came as until its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from fairway.api.resources import Resource
from fairway.api.types import Object
from fairway.base.errors import Retry

RETRY_AFTER_S = 1.0


class ListItems:
    """The objects of a list, each decoded anew whenever it is asked for; apiVersion and kind are filled in."""

    def __init__(self, items: Sequence[msgspec.Raw], resource: Resource) -> None:
        self._items = items
        self._head = {"apiVersion": resource.api_version, "kind": resource.kind}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Object]:
        """Raises Retry for an item that is no JSON."""
        for item in self._items:
            try:
                yield {**self._head, **msgspec.json.decode(item)}
            except msgspec.DecodeError as error:
                raise Retry(f"the list holds an item that is no JSON: {error}", after_s=RETRY_AFTER_S) from None


class _Metadata(msgspec.Struct, gc=False):
    name: str


class _Named(msgspec.Struct, gc=False):
    metadata: _Metadata


class _List(msgspec.Struct):
    metadata: Object = {}
    items: list[msgspec.Raw] | None = None


_decode_list = msgspec.json.Decoder(_List).decode
_check_name = msgspec.json.Decoder(_Named).decode


def parse_list(text: bytes, resource: Resource) -> Object:
    """A List object whose items are ListItems.

    Raises Retry where it is none, lacks its resourceVersion, or holds an item without a name.
    """
    try:
        answer = _decode_list(text)
    except msgspec.DecodeError:
        raise Retry(f"the list of {resource.plural} is no List", after_s=RETRY_AFTER_S) from None
    items = answer.items or []
    if not answer.metadata.get("resourceVersion"):
        raise Retry(f"the list of {resource.plural} has no resourceVersion", after_s=RETRY_AFTER_S)
    try:
        for item in items:
            _check_name(item)
    except msgspec.DecodeError:
        raise Retry(f"the list of {resource.plural} holds an item without a name", after_s=RETRY_AFTER_S) from None
    return {"metadata": answer.metadata, "items": ListItems(items, resource)}
