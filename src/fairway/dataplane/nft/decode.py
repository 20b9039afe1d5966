"""What the kernel holds of our table, from its messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fairway.dataplane.nft.diff import Observed
from fairway.dataplane.nft.ruleset import TABLE, BaseHook, Chain, Rule
from fairway.netlink.elements import RangeShape, Shape, Value, element_list
from fairway.netlink.nftables import (
    VERDICT_DATA,
    ChainInfo,
    Hook,
    RuleInfo,
    SetFlag,
    SetInfo,
    decode_chain,
    decode_rule,
    decode_set,
    decode_table,
)
from fairway.netlink.userdata import read_comment

ACCEPT_POLICY = 1
"""NF_ACCEPT."""


def decode_sets(bodies: Iterable[bytes]) -> dict[str, SetInfo]:
    """By name. Anonymous ones are somebody else's, and come and go with the rules that hold them."""
    found = (info for info in map(decode_set, bodies) if not info.flags & SetFlag.ANONYMOUS)
    return {info.name: info for info in found if info.table == TABLE}


def decode_elements(info: SetInfo, bodies: Iterable[bytes]) -> dict[bytes, Value]:
    """The elements of one set; bodies: of messages that list them."""
    shape = shape_of(info)
    elements: dict[bytes, Value] = {}
    for body in bodies:
        elements |= shape.unpack(element_list(body)[2])
    return elements


def shape_of(info: SetInfo) -> Shape:
    """How the elements of a set are packed."""
    key = _padded(info.key_length)
    if info.field_lengths:
        return RangeShape(key)
    is_data = info.flags & SetFlag.MAP and info.data_type != VERDICT_DATA
    return Shape(key, _padded(info.data_length) if is_data else 0)


def is_dynamic(info: SetInfo) -> bool:
    """Whether packets fill it."""
    return bool(info.flags & SetFlag.EVAL)


def observed(
    table: bytes,
    family: int,
    *,
    chains: Iterable[bytes],
    rules: Iterable[bytes],
    sets: Mapping[str, SetInfo],
    elements: Mapping[str, Mapping[bytes, Value]],
) -> Observed:
    """Our table, from the bodies of its messages."""
    by_chain: dict[str, list[Rule]] = {}
    for info in map(decode_rule, rules):
        if info.table == TABLE:
            by_chain.setdefault(info.chain, []).append(_rule(info))
    found = [info for info in map(decode_chain, chains) if info.table == TABLE]
    told = decode_table(table, family)
    return Observed(
        comment=read_comment(told.userdata),
        sets=sets,
        chains={info.name: _chain(info, by_chain.get(info.name, ())) for info in found},
        elements=elements,
        flags=told.flags,
    )


def _rule(info: RuleInfo) -> Rule:
    return Rule(info.expressions, read_comment(info.userdata))


def _chain(info: ChainInfo, rules: Iterable[Rule]) -> Chain:
    """A base chain of another type or policy has no hook that ours have, so that it is told apart."""
    hook = None
    if info.hook is not None:
        plain = info.kind == "nat" and info.policy == ACCEPT_POLICY
        hook = BaseHook(Hook(info.hook), info.priority if plain else _NO_PRIORITY)
    return Chain(info.name, tuple(rules), hook, read_comment(info.userdata))


_NO_PRIORITY = -(1 << 31)


def _padded(length: int) -> int:
    return length + -length % 4
