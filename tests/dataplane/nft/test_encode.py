"""The transaction: whole, in an order that is good after every message, and as small as the change."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from fairway.api.core import Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.dataplane.nft.diff import Delta, diff
from fairway.dataplane.nft.encode import encode, encode_removals
from fairway.dataplane.nft.ruleset import Ruleset
from fairway.netlink.elements import element_list
from fairway.netlink.nftables import NFPROTO_IPV4, Kind, Request, body_of, kind_of
from tests.dataplane.nft.build import (
    AFFINITY,
    KEY,
    LOCAL,
    Held,
    assembly,
    many_endpoints,
    ruleset_of,
    scenarios,
    shares,
)
from tests.dataplane.nft.kernel import Kernel
from tests.plan.objects import LOCAL_AND_REMOTE, REMOTE_ONLY, every_door, service

SCENARIOS = scenarios()
Messages = list[tuple[str, str]]


def told(requests: list[Request]) -> Messages:
    """Kinds of messages, and what each is about."""
    found = []
    for each in requests:
        kind = kind_of(each.kind)
        assert kind is not None
        about = element_list(body_of(each.body))[1] if kind in (Kind.NEWSETELEM, Kind.DELSETELEM) else str(each.about)
        found.append((kind.name, about))
    return found


def change(before: tuple[Service, EndpointSlice], after: tuple[Service, EndpointSlice] | None) -> tuple[Held, Delta]:
    """A Service among another one, which keeps what both need."""
    other = service("other", clusterIP="10.200.1.99")
    first = assembly([before[0], other], before[1])
    then = assembly([after[0], other], after[1]) if after is not None else assembly([other])
    book = Held(first.view, shares(first))
    key = Key(*KEY.split("/"))
    return book, book.delta({key: shares(then).get(key)})


def messages(book: Held, delta: Delta) -> Messages:
    specs = {**book.ruleset().sets, **{spec.name: spec for spec in delta.new_sets}}
    return told(encode(delta, NFPROTO_IPV4, specs) + encode_removals(delta, NFPROTO_IPV4))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_sent_for_a_fresh_table_is_that_table(name: str) -> None:
    ruleset = ruleset_of(SCENARIOS[name])
    kernel = Kernel()
    kernel.commit(encode(diff(None, ruleset), ruleset.protocol_family, ruleset.sets))
    seen = kernel.observed(ruleset.protocol_family)
    assert seen is not None
    assert not diff(seen, ruleset)
    assert seen.comment == ruleset.comment
    assert dict(seen.chains) == dict(ruleset.chains)
    assert {name: dict(some) for name, some in seen.elements.items() if some} == {
        name: dict(some) for name, some in ruleset.elements.items() if some
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_table_that_is_made_anew_is_deleted_in_the_same_transaction(name: str) -> None:
    ruleset = ruleset_of(SCENARIOS[name])
    delta = replace_comment(ruleset)
    sent = told(encode(delta, ruleset.protocol_family, ruleset.sets))
    assert sent[:2] == [("DELTABLE", "table fairway"), ("NEWTABLE", "table fairway")]


def replace_comment(ruleset: Ruleset) -> Delta:
    kernel = Kernel()
    kernel.commit(encode(diff(None, ruleset), ruleset.protocol_family, ruleset.sets))
    seen = kernel.observed(ruleset.protocol_family)
    assert seen is not None
    return diff(replace(seen, comment="somebody's"), ruleset)


ONE_LESS = change((service(), many_endpoints(10)), (service(), many_endpoints(9)))


def test_the_last_endpoint_of_ten_less_is_its_element_the_doors_and_the_chain_of_nine() -> None:
    """No other endpoint moves to another slot, and no other Service needs either chain."""
    _, delta = ONE_LESS
    assert {name: len(some) for name, some in delta.remove.items()} == {"services": 1, "backends": 1, "classes": 1}
    assert {name: len(some) for name, some in delta.add.items()} == {"services": 1, "classes": 1}
    assert delta.elements == 5
    assert messages(*ONE_LESS) == [
        ("NEWCHAIN", "chain masquerade-outside-9"),
        ("NEWRULE", "a rule of chain masquerade-outside-9"),
        ("NEWRULE", "a rule of chain masquerade-outside-9"),
        ("NEWSETELEM", "classes"),
        ("DELSETELEM", "services"),
        ("NEWSETELEM", "services"),
        ("DELSETELEM", "backends"),
        ("DELSETELEM", "classes"),
        ("DELRULE", "the rules of chain masquerade-outside-10"),
        ("DELCHAIN", "chain masquerade-outside-10"),
    ]


def test_the_first_endpoint_of_ten_less_moves_the_other_nine_a_slot() -> None:
    """Slots follow the order of backends, whatever was there before: more elements, the same messages and one more."""
    book, delta = change((service(), many_endpoints(10)), (service(), many_endpoints(9, 12)))
    assert (len(delta.remove["backends"]), len(delta.add["backends"]), delta.elements) == (10, 9, 23)
    assert Counter(messages(book, delta)) - Counter(messages(*ONE_LESS)) == {
        ("DELSETELEM", "backends"): 1,
        ("NEWSETELEM", "backends"): 1,
    }


def test_an_endpoint_replaced_by_another_is_its_slot_alone() -> None:
    """Backends are sorted by their text: the last of nine becomes another last one."""
    swapped = many_endpoints(9)
    swapped = replace(swapped, endpoints=[*swapped.endpoints[:-1], *many_endpoints(1, 99).endpoints])
    book, delta = change((service(), many_endpoints(9)), (service(), swapped))
    assert (len(delta.remove["backends"]), len(delta.add["backends"]), delta.elements) == (1, 1, 2)
    assert messages(book, delta) == [("DELSETELEM", "backends"), ("NEWSETELEM", "backends")]


def test_an_unchanged_service_is_no_message() -> None:
    book, delta = change((service(), many_endpoints(9)), (service(), many_endpoints(9)))
    assert not delta
    assert messages(book, delta) == []


def test_a_door_opens_after_its_backends_are_there() -> None:
    sent = told(encode(diff(None, ruleset_of(SCENARIOS["local"])), NFPROTO_IPV4, ruleset_of(SCENARIOS["local"]).sets))
    places = {
        name: sent.index(("NEWSETELEM", name))
        for name in ruleset_of(SCENARIOS["local"]).sets
        if ("NEWSETELEM", name) in sent
    }
    for door in ("services", "nodeports", "nodeport-short-cuts"):
        for needed in ("backends", "nodeport-backends", "classes", "short-cut-classes", "hairpins"):
            assert places[needed] < places[door]


def test_a_door_closes_before_its_backends_go() -> None:
    book, delta = change((every_door(), LOCAL_AND_REMOTE), None)
    sent = messages(book, delta)
    kinds = Counter(kind for kind, _ in sent)
    assert kinds["NEWSETELEM"] == kinds["NEWCHAIN"] == 0
    for door in ("services", "nodeports"):
        for needed in ("backends", "nodeport-backends", "classes", "hairpins"):
            assert sent.index(("DELSETELEM", door)) < sent.index(("DELSETELEM", needed))
    last_element = max(index for index, (kind, _) in enumerate(sent) if kind == "DELSETELEM")
    assert last_element < sent.index(("DELRULE", "the rules of chain masquerade-2"))
    assert sent[-1][0] == "DELCHAIN"


CHANGES = {
    "fewer endpoints": ((every_door(), many_endpoints(3)), (every_door(), many_endpoints(1))),
    "more endpoints": ((every_door(), many_endpoints(1)), (every_door(), many_endpoints(3))),
    "all endpoints go": ((every_door(), many_endpoints(2)), (every_door(), many_endpoints(0))),
    "all endpoints come": ((every_door(), many_endpoints(0)), (every_door(), many_endpoints(2))),
    "Local from now on": ((every_door(), LOCAL_AND_REMOTE), (every_door(**LOCAL), LOCAL_AND_REMOTE)),
    "no local endpoint": ((every_door(**LOCAL), LOCAL_AND_REMOTE), (every_door(**LOCAL), REMOTE_ONLY)),
    "affinity from now on": ((every_door(), LOCAL_AND_REMOTE), (every_door(**AFFINITY), LOCAL_AND_REMOTE)),
    "affinity no more": ((every_door(**AFFINITY), LOCAL_AND_REMOTE), (every_door(), LOCAL_AND_REMOTE)),
    "affinity, other endpoints": ((every_door(**AFFINITY), LOCAL_AND_REMOTE), (every_door(**AFFINITY), REMOTE_ONLY)),
    "other source ranges": (
        (every_door(loadBalancerSourceRanges=["10.0.0.0/8", "192.0.2.0/24"]), LOCAL_AND_REMOTE),
        (every_door(loadBalancerSourceRanges=["10.0.0.0/9", "192.0.2.0/24"]), LOCAL_AND_REMOTE),
    ),
    "it goes": ((every_door(**AFFINITY), LOCAL_AND_REMOTE), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_every_message_finds_what_it_refers_to_wherever_the_transaction_is_cut(name: str) -> None:
    """Each message by itself, as with a send buffer that holds one; and what is there then is the new table."""
    book, delta = change(*CHANGES[name])
    kernel = Kernel()
    before = book.ruleset()
    kernel.commit(encode(diff(None, before), NFPROTO_IPV4, before.sets))
    key = Key(*KEY.split("/"))
    after = CHANGES[name][1]
    other = service("other", clusterIP="10.200.1.99")
    then = assembly([after[0], other], after[1]) if after is not None else assembly([other])
    book.accept({key: shares(then).get(key)})
    sets = {**before.sets, **book.ruleset().sets}
    kernel.commit(encode(delta, NFPROTO_IPV4, sets))
    kernel.commit(encode_removals(delta, NFPROTO_IPV4))
    seen = kernel.observed(NFPROTO_IPV4)
    assert seen is not None
    assert not diff(seen, book.ruleset())
