"""What differs between what the kernel holds and what it should, and when it cannot be mended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fairway.dataplane.nft.chains import drop_rule
from fairway.dataplane.nft.diff import Delta, Observed, diff
from fairway.dataplane.nft.encode import encode
from fairway.dataplane.nft.ruleset import BaseHook, Chain, Rule, Ruleset
from fairway.netlink.elements import CATCHALL, Value
from fairway.netlink.expressions import Unknown
from fairway.netlink.nftables import Hook, SetFlag, SetInfo
from tests.dataplane.nft.build import ruleset_of, scenarios
from tests.dataplane.nft.kernel import Kernel

DESIRED: Ruleset = ruleset_of(scenarios()["affinity"])
CLIENTS = next(name for name, spec in DESIRED.sets.items() if spec.is_dynamic)


def seen() -> Observed:
    """What the kernel tells where all is as it should be."""
    kernel = Kernel()
    kernel.commit(encode(diff(None, DESIRED), DESIRED.protocol_family, DESIRED.sets))
    found = kernel.observed(DESIRED.protocol_family)
    assert found is not None
    return found


SEEN = seen()


def with_chain(chain: Chain) -> Observed:
    return replace(SEEN, chains={**SEEN.chains, chain.name: chain})


def with_set(info: SetInfo) -> Observed:
    return replace(SEEN, sets={**SEEN.sets, info.name: info})


def with_elements(name: str, change: Callable[[dict[bytes, Value]], object]) -> Observed:
    elements = dict(SEEN.elements[name])
    change(elements)
    return replace(SEEN, elements={**SEEN.elements, name: elements})


def test_nothing_is_to_be_done_where_all_is_there() -> None:
    assert not diff(SEEN, DESIRED)
    assert diff(SEEN, DESIRED) == Delta()


def test_without_a_table_all_is_new() -> None:
    delta = diff(None, DESIRED)
    assert delta.new_table
    assert not delta.start_over
    assert delta.new_sets == list(DESIRED.sets.values())
    assert delta.new_chains == list(DESIRED.chains.values())
    assert delta.add == {name: some for name, some in DESIRED.elements.items() if some}
    assert delta.elements == sum(len(some) for some in DESIRED.elements.values())


HOOKED = DESIRED.chains["nat-output"]
SERVICES = SEEN.sets["services"]


@pytest.mark.parametrize(
    "found",
    [
        replace(SEEN, comment=""),
        replace(SEEN, flags=1),
        with_set(replace(SEEN.sets["classes"], name="strange")),
        with_elements("services", lambda some: some.update({CATCHALL: bytes(4)})),
        with_set(replace(SERVICES, key_length=8)),
        with_set(replace(SERVICES, key_type=7)),
        with_set(replace(SERVICES, data_length=8)),
        with_set(replace(SERVICES, flags=SERVICES.flags | SetFlag.TIMEOUT)),
        with_set(replace(SERVICES, size=10)),
        with_set(replace(SERVICES, userdata=b"")),
        with_set(replace(SEEN.sets["classes"], data_type=7)),
        with_set(replace(SEEN.sets["classes"], key_type=7)),
        with_set(replace(SEEN.sets["source-ranges"], field_lengths=(4, 1))),
        with_set(replace(SEEN.sets[CLIENTS], timeout_ms=1)),
        with_chain(replace(HOOKED, hook=None)),
        with_chain(replace(HOOKED, hook=BaseHook(Hook.INPUT, -100))),
        with_chain(replace(HOOKED, hook=BaseHook(Hook.OUTPUT, -99))),
        with_chain(replace(HOOKED, comment="x")),
        with_chain(replace(DESIRED.chains["services"], hook=HOOKED.hook)),
    ],
)
def test_what_cannot_be_mended_in_place_is_made_anew(found: Observed) -> None:
    delta = diff(found, DESIRED)
    assert delta == replace_start(diff(None, DESIRED))


def replace_start(delta: Delta) -> Delta:
    delta.start_over = True
    return delta


def test_the_kernels_own_size_of_a_verdict_is_no_difference() -> None:
    assert not diff(with_set(replace(SEEN.sets["classes"], data_length=16)), DESIRED)


def test_a_rule_somebody_put_there_makes_its_chain_be_written_again() -> None:
    services = DESIRED.chains["services"]
    for rules in (
        (*services.rules, drop_rule()),
        services.rules[1:],
        services.rules[::-1],
        (),
        (*services.rules[:-1], Rule((Unknown("limit", b""),))),
        (*services.rules[:-1], replace(services.rules[-1], comment="x")),
    ):
        assert diff(with_chain(replace(services, rules=rules)), DESIRED) == Delta(changed_chains=[services])


def test_chains_and_sets_nobody_should_have_go() -> None:
    found = with_chain(Chain("strange", ()))
    found = replace(found, sets={**found.sets, "odd": replace(SERVICES, name="odd")})
    assert diff(found, DESIRED) == Delta(gone_chains=["strange"], gone_sets=["odd"])


def test_a_missing_chain_or_set_is_made() -> None:
    chains = {name: chain for name, chain in SEEN.chains.items() if name != "services"}
    assert diff(replace(SEEN, chains=chains), DESIRED) == Delta(new_chains=[DESIRED.chains["services"]])
    sets = {name: info for name, info in SEEN.sets.items() if name != "services"}
    elements = {name: some for name, some in SEEN.elements.items() if name != "services"}
    assert diff(replace(SEEN, sets=sets, elements=elements), DESIRED) == Delta(
        new_sets=[DESIRED.sets["services"]], add={"services": dict(DESIRED.elements["services"])}
    )


def test_elements_are_compared_one_by_one() -> None:
    key, value = next(iter(DESIRED.elements["services"].items()))
    gone = with_elements("services", lambda some: some.pop(key))
    assert diff(gone, DESIRED) == Delta(add={"services": {key: value}})
    more = with_elements("services", lambda some: some.update({bytes(12): bytes(4)}))
    assert diff(more, DESIRED) == Delta(remove={"services": {bytes(12): bytes(4)}})
    other = with_elements("services", lambda some: some.update({key: bytes(4)}))
    assert diff(other, DESIRED) == Delta(remove={"services": {key: bytes(4)}}, add={"services": {key: value}})


def test_what_packets_fill_is_left_alone() -> None:
    found = replace(SEEN, elements={**SEEN.elements, CLIENTS: {b"\1\2\3\4": None}})
    assert not diff(found, DESIRED)
