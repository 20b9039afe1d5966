"""Elements of sets and maps: few shapes and very many of each, so they are made and read by template. Pure.

All elements of one set have keys of one size and values of one size, so the bytes around them are always the same:
they are packed once, and the elements joined between them. A dump is read the same way, and proven by packing it again;
elements of any other shape (with a timeout, a comment, a verdict of another chain) are read attribute by attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fairway.netlink.expression_codec import decode_data, encode_value, encode_verdict
from fairway.netlink.expressions import Verdict
from fairway.netlink.nftables import Kind, Request, request
from fairway.netlink.wire import (
    MAX_ATTRIBUTE,
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_DUMP,
    attribute,
    attributes,
    each_attribute,
    nested,
    text,
    to_int,
    to_text,
)

Value = bytes | Verdict | None
"""Of an element: a map's data or verdict, None in a set. The value of a key range in an interval set is its end."""

_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEM = 1
_ELEM_KEY, _ELEM_DATA, _ELEM_FLAGS, _ELEM_KEY_END = 1, 2, 3, 10
_ELEM_INTERVAL_END, _ELEM_CATCHALL = 0x1, 0x2

CATCHALL = b""
"""The key of the element that stands for every key no other has (`*`), which sets of ours never hold."""


class Shape:
    """The bytes around keys and values of one size.

    key, value: their sizes in bytes, multiples of four; value is 0 in a set and where values are verdicts.
    """

    def __init__(self, key: int, value: int = 0) -> None:
        if key % 4 or value % 4:
            raise ValueError("keys and values of this size would need padding")
        self.key, self.value = key, value

    def element(self, key: bytes, value: Value) -> bytes:
        """One element as an attribute of the list."""
        parts = [nested(_ELEM_KEY, encode_value(key))]
        if isinstance(value, Verdict):
            parts.append(nested(_ELEM_DATA, encode_verdict(value)))
        elif value is not None:
            parts.append(nested(_ELEM_DATA, encode_value(value)))
        return nested(_LIST_ELEM, *parts)

    def pack(self, elements: Mapping[bytes, Value]) -> Iterator[bytes]:
        """The elements, each as an attribute of the list."""
        if self.value:
            blank = self.element(bytes(self.key), bytes(self.value))
            head, between = blank[:12], blank[12 + self.key : 12 + self.key + 8]
            # Values of a map with data are bytes; to check each would cost as much as to pack it.
            return (head + key + between + value for key, value in elements.items())  # type: ignore[operator]
        verdicts: dict[Value, bytes] = {}
        return (self._around(key, value, verdicts) for key, value in elements.items())

    def unpack(self, data: bytes) -> dict[bytes, Value]:
        """A list of elements as a dump has it. Raises ValueError for broken attributes."""
        return (self._unpack_fast(data) if self.value else None) or dict(self._unpack(data))

    def _around(self, key: bytes, value: Value, verdicts: dict[Value, bytes]) -> bytes:
        """An element around its key, remembering the bytes of each verdict."""
        blank = verdicts.get(value)
        if blank is None:
            blank = verdicts[value] = self.element(bytes(self.key), value)
        return blank[:12] + key + blank[12 + self.key :]

    def _unpack_fast(self, data: bytes) -> dict[bytes, Value] | None:
        """None where anything but elements of this very shape is in `data`."""
        stride = 4 + 8 + self.key + 8 + self.value
        if len(data) % stride:
            return None
        at_key, at_value = 12, 12 + self.key + 8
        found: dict[bytes, Value] = {
            data[start + at_key : start + at_key + self.key]: data[start + at_value : start + at_value + self.value]
            for start in range(0, len(data), stride)
        }
        blank = self._as_dumped(bytes(self.key), bytes(self.value))
        head, between = blank[:12], blank[12 + self.key : at_value]
        # Only slices of `data` are values here.
        again = b"".join([head + key + between + value for key, value in found.items()])  # type: ignore[operator]
        return found if again == data else None

    def _as_dumped(self, key: bytes, value: bytes) -> bytes:
        """The kernel leaves out the flag that says what holds attributes."""
        return attribute(
            _LIST_ELEM, attribute(_ELEM_KEY, encode_value(key)) + attribute(_ELEM_DATA, encode_value(value))
        )

    def _unpack(self, data: bytes) -> Iterator[tuple[bytes, Value]]:
        for _, element in each_attribute(data):
            found = attributes(element)
            flags = to_int(found.get(_ELEM_FLAGS, b""))
            if flags & _ELEM_INTERVAL_END:
                continue
            key = CATCHALL if flags & _ELEM_CATCHALL else decode_data(found[_ELEM_KEY])
            if not isinstance(key, bytes):
                raise ValueError("an element's key is a verdict")
            value: Value = None
            if _ELEM_DATA in found:
                value = decode_data(found[_ELEM_DATA])
            elif _ELEM_KEY_END in found:
                value = decode_data(found[_ELEM_KEY_END])
            yield key, value


class RangeShape(Shape):
    """Of a set of ranges of concatenations: a key's value is the range's last key."""

    def element(self, key: bytes, value: Value) -> bytes:
        assert isinstance(value, bytes)
        end = nested(_ELEM_KEY_END, encode_value(value))
        return nested(_LIST_ELEM, nested(_ELEM_KEY, encode_value(key)), end)

    def pack(self, elements: Mapping[bytes, Value]) -> Iterator[bytes]:
        return (self.element(key, value) for key, value in elements.items())

    def unpack(self, data: bytes) -> dict[bytes, Value]:
        return dict(self._unpack(data))


def new_elements(
    family: int, table: str, name: str, shape: Shape, elements: Mapping[bytes, Value]
) -> Iterator[Request]:
    """Messages that add elements, each as full as an attribute may be."""
    return _messages(Kind.NEWSETELEM, NLM_F_CREATE, family, table, name, shape.pack(elements))


def delete_elements(
    family: int, table: str, name: str, shape: Shape, elements: Mapping[bytes, Value]
) -> Iterator[Request]:
    """Messages that delete elements by their keys; values, other than the ends of ranges, are left out."""
    if not isinstance(shape, RangeShape):
        shape, elements = Shape(shape.key), dict.fromkeys(elements)
    return _messages(Kind.DELSETELEM, 0, family, table, name, shape.pack(elements))


def dump_elements(family: int, table: str, name: str) -> Request:
    """Ask for all elements of a set."""
    parts = [text(_LIST_TABLE, table), text(_LIST_SET, name)]
    return request(Kind.GETSETELEM, family, *parts, flags=NLM_F_DUMP, about=f"the elements of set {name}")


def element_list(body: bytes) -> tuple[str, str, bytes]:
    """Table, set and list of a message of elements. Raises ValueError for a broken one."""
    found = attributes(body)
    return to_text(found[_LIST_TABLE]), to_text(found[_LIST_SET]), found.get(_LIST_ELEMENTS, b"")


def _messages(kind: Kind, flags: int, family: int, table: str, name: str, packed: Iterable[bytes]) -> Iterator[Request]:
    where = text(_LIST_TABLE, table) + text(_LIST_SET, name)
    about = f"the elements of set {name}"
    for chunk in _chunks(packed):
        yield request(kind, family, where, attribute(_LIST_ELEMENTS | NLA_F_NESTED, chunk), flags=flags, about=about)


def _chunks(packed: Iterable[bytes]) -> Iterator[bytes]:
    """The elements joined, as many each time as fit an attribute."""
    waiting: list[bytes] = []
    size = 0
    for element in packed:
        size += len(element)
        if size > MAX_ATTRIBUTE - 4:
            yield b"".join(waiting)
            waiting, size = [], len(element)
        waiting.append(element)
    if waiting:
        yield b"".join(waiting)
