"""However the shares of Services change, what is sent for it leads to the table that is made from scratch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.dataplane.nft import book as book_module
from fairway.dataplane.nft import layout
from fairway.dataplane.nft import lower as lower_module
from fairway.dataplane.nft.diff import diff
from fairway.dataplane.nft.encode import encode, encode_removals
from fairway.dataplane.nft.lower import Share, lower_service
from fairway.netlink.nftables import NFPROTO_IPV4
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service
from fairway.plan.model import ServicePlan
from fairway.plan.options import view_node
from tests.dataplane.nft.build import AFFINITY, LOCAL, OPTIONS, Held, assembly, share, shares
from tests.dataplane.nft.kernel import Kernel
from tests.plan.objects import HERE, THERE, endpoint, endpoint_slice, every_door, node, service

VIEW = view_node(node(), OPTIONS)
KEYS = [Key("default", name) for name in ("a", "b", "c")]


@pytest.fixture(autouse=True)
def few_are_many() -> Iterator[None]:
    """So that tables of this size cross the line from which chains are kept in store."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (lower_module, book_module):
            patch.setattr(module, "LARGE_TABLE", 9)
        yield


@st.composite
def some_part(draw: st.DrawFn, key: Key) -> ServicePlan:
    """Of a Service that may claim doors of another; classes and hairpins are such as others have too."""
    index = KEYS.index(key)
    one = service(
        key.name,
        ingress=[{"ip": draw(st.sampled_from(["172.18.255.1", "172.18.255.2"]))}],
        **{
            "type": draw(st.sampled_from(["LoadBalancer", "ClusterIP"])),
            "clusterIP": f"10.200.1.{index}",
            "externalIPs": draw(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), unique=True)),
            "ports": [{"port": 80, "nodePort": 30080 + draw(st.integers(0, 1))}],
            "loadBalancerSourceRanges": draw(st.lists(st.sampled_from(RANGES), unique=True)),
            **draw(st.sampled_from([{}, LOCAL])),
            **draw(st.sampled_from([{}, AFFINITY])),
        },
    )
    pods = draw(st.lists(st.sampled_from(PODS), unique=True))
    return compile_service(one, [endpoint_slice(*[endpoint(*pod) for pod in pods], of=key.name)], VIEW)


RANGES = ["10.0.0.0/8", "10.1.0.0/16", "10.1.128.0/17", "192.0.2.0/24"]
PODS = [("10.10.1.3", HERE), ("10.10.2.3", THERE), ("10.10.2.4", THERE)]
steps = st.lists(
    st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), st.none() | some_part(key))),
    min_size=1,
    max_size=3,
)
Step = list[tuple[Key, ServicePlan | None]]


def take(whole: Assembly, step: Step) -> dict[Key, Share | None]:
    """The shares of all Services that a step changes: those it names, and those that lose or gain a door by it."""
    changed: set[Key] = set()
    for key, part in step:
        changed |= whole.put(part) if part is not None else whole.drop(key)
    return {key: lower_service(whole.parts[key].ports, VIEW) if key in whole.parts else None for key in sorted(changed)}


changes = steps.map(lambda step: take(Assembly(VIEW), step))


@settings(max_examples=150)
@given(st.lists(steps, min_size=1, max_size=5))
def test_any_sequence_of_changes_ends_at_the_table_from_scratch(sequence: list[Step]) -> None:
    whole, book, kernel = Assembly(VIEW), Held(VIEW, {}), Kernel()
    first = book.ruleset()
    kernel.commit(encode(diff(None, first), NFPROTO_IPV4, first.sets))
    for step in sequence:
        some = take(whole, step)
        delta = book.delta(some)
        specs = book.specs(each for each in some.values() if each is not None)
        kernel.commit(encode(delta, NFPROTO_IPV4, specs))
        kernel.commit(encode_removals(delta, NFPROTO_IPV4))
        book.accept(some)
        seen = kernel.observed(NFPROTO_IPV4)
        assert seen is not None
        scratch = Held(VIEW, shares(whole)).ruleset()
        assert not diff(seen, scratch)
        assert not diff(seen, book.ruleset())


@settings(max_examples=50)
@given(changes, changes)
def test_a_change_that_is_not_accepted_leaves_no_trace(
    one: dict[Key, Share | None], other: dict[Key, Share | None]
) -> None:
    book, untouched = Held(VIEW, {}), Held(VIEW, {})
    book.delta(one)
    assert book.delta(other) == untouched.delta(other)


@settings(max_examples=50)
@given(changes)
def test_what_is_there_already_is_no_change(some: dict[Key, Share | None]) -> None:
    book = Held(VIEW, {})
    book.accept(some)
    assert not book.delta(dict(book.shares))


def test_a_chain_stays_as_long_as_one_service_needs_it() -> None:
    whole = assembly([service(name, clusterIP=f"10.200.1.{index}") for index, name in enumerate("ab")])
    held = shares(whole)
    book = Held(whole.view, held)
    keys = sorted(held)
    assert book.delta({keys[0]: None}).remove.keys() == {layout.SERVICES, layout.CLUSTER_IPS}
    book.accept({keys[0]: None})
    delta = book.delta({keys[1]: None})
    assert delta.remove.keys() == {layout.SERVICES, layout.CLUSTER_IPS, layout.CLASSES}


def test_only_changed_services_are_gone_through() -> None:
    """The specs of their sets are enough to send a change: fixed ones, and those the changes bring."""
    book = Held(VIEW, {})
    sticky = share(every_door(**AFFINITY), endpoint_slice(endpoint("10.10.1.3", HERE)))
    own = book.specs([sticky]).keys() - layout.fixed_sets(Family.IPV4).keys()
    assert own == {spec.name for spec in sticky.sets}
    assert len(own) == 1
