"""A table of nf_tables as values: sets with their elements, chains with their rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from fairway.base.addresses import Family
from fairway.netlink.elements import RangeShape, Shape, Value
from fairway.netlink.expressions import Expression
from fairway.netlink.nftables import NFPROTO_IPV4, NFPROTO_IPV6, VERDICT_DATA, Hook, SetFlag, SetInfo
from fairway.netlink.userdata import Field, key_type, set_userdata

TABLE = "fairway"

Elements = Mapping[bytes, Value]


class SetSpec(Struct, frozen=True, dict=True):
    """A set or map, without its elements.

    key: the fields of its key. data: those of a map's values, () where they are verdicts, None for a set. ranges: its
    keys are first keys of ranges, whose last are the values. timeout_s: packets fill it, and an element lasts so long
    after its last update; None where only we fill it. size: how many elements fit, 0 for any number.
    """

    name: str
    key: tuple[Field, ...]
    data: tuple[Field, ...] | None = None
    ranges: bool = False
    timeout_s: int | None = None
    size: int = 0
    comment: str = ""

    @property
    def is_map(self) -> bool:
        return self.data is not None

    @property
    def is_dynamic(self) -> bool:
        """Whether its elements are the packets' business, and never compared or changed by us."""
        return self.timeout_s is not None

    @cached_property
    def shape(self) -> Shape:
        """How its elements are packed."""
        key = _padded_length(self.key)
        return RangeShape(key) if self.ranges else Shape(key, _padded_length(self.data or ()))

    @cached_property
    def info(self) -> SetInfo:
        """As the kernel is told of it."""
        flags = 0
        if self.is_map:
            flags |= SetFlag.MAP
        if self.ranges:
            flags |= SetFlag.INTERVAL | SetFlag.CONCAT
        if self.is_dynamic:
            flags |= SetFlag.TIMEOUT | SetFlag.EVAL
        return SetInfo(
            table=TABLE,
            name=self.name,
            flags=int(flags),
            key_type=key_type(self.key),
            key_length=_length(self.key),
            data_type=0 if self.data is None else key_type(self.data) if self.data else VERDICT_DATA,
            data_length=_length(self.data or ()),
            size=self.size,
            timeout_ms=(self.timeout_s or 0) * 1000,
            field_lengths=tuple(field.length for field in self.key) if self.ranges else (),
            userdata=set_userdata(self.key, self.data or None, is_map=self.is_map, comment=self.comment),
        )


class Rule(Struct, frozen=True):
    """Its expressions in order. comment: "" for none."""

    expressions: tuple[Expression, ...]
    comment: str = ""


class BaseHook(Struct, frozen=True):
    """Where packets enter a base chain; its type is nat, its policy accept."""

    hook: Hook
    priority: int


class Chain(Struct, frozen=True):
    """hook: of a base chain, else None."""

    name: str
    rules: tuple[Rule, ...]
    hook: BaseHook | None = None
    comment: str = ""


class Ruleset(Struct, frozen=True):
    """All of one table.

    elements: of each set that we fill; a set without any may be missing. Sets and chains keep the order they are
    created in, so that what is referred to comes before what refers to it.
    """

    family: Family
    comment: str
    sets: Mapping[str, SetSpec]
    chains: Mapping[str, Chain]
    elements: Mapping[str, Elements]

    @property
    def protocol_family(self) -> int:
        """NFPROTO_*."""
        return protocol_family(self.family)


def protocol_family(family: Family) -> int:
    """NFPROTO_* of an address family."""
    return NFPROTO_IPV4 if family is Family.IPV4 else NFPROTO_IPV6


def _length(fields: Sequence[Field]) -> int:
    """As the kernel counts it: a single field as it is, several padded each."""
    return fields[0].length if len(fields) == 1 else _padded_length(fields)


def _padded_length(fields: Sequence[Field]) -> int:
    return sum(field.padded for field in fields)
