"""What `nft` stores beside the kernel's objects so that it can print them again: comments, and what keys are made of.

The kernel keeps these bytes and never reads them. Their form is libnftnl's (include/libnftnl/udata.h, version 1.2.4):
records of one byte of type, one byte of length, and the value; integers are the machine's own. How an expression is
described in them is nft's (src/payload.c, src/meta.c, src/numgen.c of nftables 1.0.6). Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from msgspec import Struct

COMMENT_LIMIT = 128
"""Bytes of a comment, as nft has it (NFTNL_UDATA_COMMENT_MAXLEN)."""


class Field(Struct, frozen=True):
    """One field of a key or value, as nft writes, sizes and describes it.

    text: nft's words. length: bytes. datatype: nft's number of its type (enum datatypes in nft's datatype.h).
    described: the record that `typeof` is kept in. big_endian: how an integer of it stands in memory.
    """

    text: str
    length: int
    datatype: int
    described: bytes
    big_endian: bool = True

    @property
    def padded(self) -> int:
        """Bytes it takes among others: concatenations are made of words of four."""
        return self.length + -self.length % 4


_SET_KEY_BYTEORDER, _SET_DATA_BYTEORDER, _SET_KEY_TYPEOF, _SET_DATA_TYPEOF = 0, 1, 3, 4
_SET_DATA_INTERVAL, _SET_COMMENT = 6, 7
_TYPEOF_EXPR, _TYPEOF_DATA = 0, 1
_TABLE_COMMENT = _CHAIN_COMMENT = _RULE_COMMENT = 0

_EXPR_VERDICT, _EXPR_PAYLOAD, _EXPR_META, _EXPR_CONCAT, _EXPR_NUMGEN = 1, 7, 9, 13, 23
"""enum expr_types in nft's expression.h."""
_HOST_ENDIAN, _BIG_ENDIAN = 1, 2
"""enum byteorder in nft's datatype.h; 0 where it has no meaning, as of concatenations and verdicts."""


def record(kind: int, value: bytes) -> bytes:
    """One record. Raises ValueError for a value that does not fit its byte of length."""
    if len(value) > 0xFF:
        raise ValueError(f"{len(value)} bytes do not fit a record of user data")
    return bytes((kind, len(value))) + value


def number(kind: int, value: int) -> bytes:
    return record(kind, value.to_bytes(4, sys.byteorder))


def comment_record(text: str, kind: int = _TABLE_COMMENT) -> bytes:
    """A comment, of a table, chain or rule; cut to what nft accepts, at a whole character."""
    cut = text.encode()[: COMMENT_LIMIT - 1].decode(errors="ignore")
    return record(kind, cut.encode() + b"\0")


def read_comment(data: bytes, kind: int = _TABLE_COMMENT) -> str:
    """The comment among these records, "" where there is none."""
    return _records(data).get(kind, b"").rstrip(b"\0").decode(errors="backslashreplace")


def set_userdata(key: Sequence[Field], data: Sequence[Field] | None, *, is_map: bool, comment: str = "") -> bytes:
    """What nft stores with a set, or a map (data: None for verdicts) declared by `typeof`."""
    parts = [number(_SET_KEY_BYTEORDER, _byteorder(key))]
    if is_map:
        parts.append(number(_SET_DATA_BYTEORDER, _byteorder(data) if data is not None else 0))
    parts.append(record(_SET_KEY_TYPEOF, _typeof(key)))
    if is_map:
        verdict = number(_TYPEOF_EXPR, _EXPR_VERDICT) + record(_TYPEOF_DATA, b"")
        parts.append(record(_SET_DATA_TYPEOF, _typeof(data) if data is not None else verdict))
        parts.append(number(_SET_DATA_INTERVAL, 0))
    if comment:
        parts.append(comment_record(comment, _SET_COMMENT))
    return b"".join(parts)


def read_set_comment(data: bytes) -> str:
    return read_comment(data, _SET_COMMENT)


def key_type(fields: Sequence[Field]) -> int:
    """nft's number of a concatenation: six bits a field."""
    total = 0
    for field in fields:
        total = total << 6 | field.datatype
    return total


def payload_field(text: str, length: int, datatype: int, *, protocol: int, template: int) -> Field:
    """A field of a header; protocol and template number it in nft's enum proto_desc_id and its header's fields."""
    described = number(_TYPEOF_EXPR, _EXPR_PAYLOAD) + record(_TYPEOF_DATA, number(0, protocol) + number(1, template))
    return Field(text, length, datatype, described)


def meta_field(text: str, length: int, datatype: int, *, key: int, big_endian: bool) -> Field:
    """A field of the packet's metadata; key: enum nft_meta_keys."""
    described = number(_TYPEOF_EXPR, _EXPR_META) + record(_TYPEOF_DATA, number(0, key))
    return Field(text, length, datatype, described, big_endian)


def numgen_field(modulus: int) -> Field:
    """A random number below `modulus`."""
    inner = number(0, 1) + number(1, modulus) + number(2, 0)
    described = number(_TYPEOF_EXPR, _EXPR_NUMGEN) + record(_TYPEOF_DATA, inner)
    return Field(f"numgen random mod {modulus}", 4, 4, described, big_endian=False)


def _typeof(fields: Sequence[Field]) -> bytes:
    if len(fields) == 1:
        return fields[0].described
    members = b"".join(record(index, field.described) for index, field in enumerate(fields))
    return number(_TYPEOF_EXPR, _EXPR_CONCAT) + record(_TYPEOF_DATA, members)


def _byteorder(fields: Sequence[Field]) -> int:
    if len(fields) > 1:
        return 0
    return _BIG_ENDIAN if fields[0].big_endian else _HOST_ENDIAN


def _records(data: bytes) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 2 <= len(data):
        kind, length = data[offset], data[offset + 1]
        found[kind] = data[offset + 2 : offset + 2 + length]
        offset += 2 + length
    return found
