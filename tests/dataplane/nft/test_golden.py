"""Our messages are nft's own, byte for byte: those it sent for the same tables.

They were recorded by tests/golden/nft/capture.py. nft adds what makes no difference to the kernel, and differs in
nothing else:

- it names sets by a number besides their name, in rules (NFTA_LOOKUP_SET_ID, NFTA_DYNSET_SET_ID) and for elements
  (NFTA_SET_ELEM_LIST_SET_ID); names do, since the sets come before;
- it counts the elements of a list where we, as the kernel itself does, write NFTA_LIST_ELEM;
- it swaps the bytes of the protocol before it asks a set of ranges, which is one byte and none of two to swap;
- it says of some masks that they are no shift (NFTA_BITWISE_OP 0, the default), we of all;
- it says of constant addresses and ports that there are such (NFTA_NAT_FLAGS 2), as the kernel finds itself
  (nft_nat_init in net/netfilter/nft_nat.c);
- it sorts elements.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairway.dataplane.nft.diff import diff
from fairway.dataplane.nft.encode import encode
from fairway.dataplane.nft.text import format_table
from fairway.netlink.nftables import Kind, body_of, kind_of
from fairway.netlink.wire import attribute, attributes, each_attribute, nested, to_int, to_text
from tests.dataplane.nft.build import ruleset_of, scenarios
from tests.golden.nft.capture import SCENARIOS, path_of

_ELEMENT_LIST, _ELEMENT_SET_ID = 3, 4
_RULE_EXPRESSIONS = 4
_LEFT_OUT = {"lookup": {4}, "dynset": {2}, "bitwise": {6}, "nat": {7}}
"""Attributes that only one of both writes, by expression: see above."""
_DEFAULTS = {"bitwise": (6, b"\0\0\0\0"), "nat": (7, b"\0\0\0\2")}
_NAMES = {Kind.NEWTABLE: 1, Kind.NEWCHAIN: 3, Kind.NEWRULE: 2, Kind.NEWSET: 2, Kind.NEWSETELEM: 2}
"""Where in a message what it is about is named."""


def recorded(scenario: str) -> Any:
    return json.loads(path_of(scenario).read_text())


def normal(kind: Kind, body: bytes) -> tuple[Any, ...]:
    """A message without what only nft says; all else is kept as bytes and in its order."""
    parts = list(each_attribute(body_of(body)))
    if kind is Kind.NEWSETELEM:
        lists = [value for number, value in parts if number == _ELEMENT_LIST]
        elements = sorted(value for one in lists for _, value in each_attribute(one))
        return body[:4], [each for each in parts if each[0] not in (_ELEMENT_LIST, _ELEMENT_SET_ID)], elements
    if kind is Kind.NEWRULE:
        parts = [(number, without_ids(value) if number == _RULE_EXPRESSIONS else value) for number, value in parts]
    return body[:4], parts


def without_ids(expressions: bytes) -> bytes:
    kept = [(number, value) for number, value in each_attribute(expressions) if not _swaps_one_byte(value)]
    return b"".join(nested(number, _without_id(value)) for number, value in kept)


def _swaps_one_byte(expression: bytes) -> bool:
    """NFTA_BYTEORDER_LEN is 4."""
    (_, name), (_, inner) = each_attribute(expression)
    return to_text(name) == "byteorder" and to_int(attributes(inner)[4]) == 1


def _without_id(expression: bytes) -> bytes:
    (_, name), (_, inner) = each_attribute(expression)
    left_out = _LEFT_OUT.get(to_text(name), set())
    if to_text(name) in _DEFAULTS:
        number, default = _DEFAULTS[to_text(name)]
        assert attributes(inner).get(number, default) == default
    kept = [attribute(number, value) for number, value in each_attribute(inner) if number not in left_out]
    return attribute(1, name) + nested(2, *kept)


def by_subject(messages: list[tuple[int, bytes]]) -> dict[tuple[Kind, str], list[tuple[Any, ...]]]:
    """What nft and we order differently is ordered by what it is about; rules of one chain keep their order."""
    found: dict[tuple[Kind, str], list[tuple[Any, ...]]] = {}
    for number, body in messages:
        kind = kind_of(number)
        if kind is not None:
            subject = to_text(attributes(body_of(body))[_NAMES[kind]])
            found.setdefault((kind, subject), []).append(normal(kind, body))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_messages_are_those_of_nft(scenario: str) -> None:
    ruleset = ruleset_of(scenarios()[scenario])
    ours = [(each.kind, each.body) for each in encode(diff(None, ruleset), ruleset.protocol_family, ruleset.sets)]
    theirs = [(int(kind, 16), bytes.fromhex(body)) for kind, body in recorded(scenario)["messages"]]
    assert by_subject(ours) == by_subject(theirs)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_recordings_are_of_the_tables_we_make(scenario: str) -> None:
    """Where a rule changed on purpose, record anew."""
    assert recorded(scenario)["text"] == format_table(ruleset_of(scenarios()[scenario])).splitlines()


def test_the_recordings_have_every_set_and_every_kind_of_rule() -> None:
    """So that no shape goes uncompared."""
    subjects = set[tuple[Kind, str]]()
    words = ""
    for scenario in SCENARIOS:
        theirs = [(int(kind, 16), bytes.fromhex(body)) for kind, body in recorded(scenario)["messages"]]
        subjects |= by_subject(theirs).keys()
        words += "\n".join(recorded(scenario)["text"])
    ruleset = ruleset_of(scenarios()["nothing"])
    filled = {name for kind, name in subjects if kind is Kind.NEWSETELEM}
    assert filled == ruleset.sets.keys()
    for said in ("update @", "dnat to [", "dnat ip6 to", "reject", "numgen random mod 2 offset", "!= @", "meta mark &"):
        assert said in words
