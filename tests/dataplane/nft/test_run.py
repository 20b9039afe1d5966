"""The interpreter's own steps; that it agrees with `evaluate` is shown in tests/agree."""

from __future__ import annotations

import sys
from fractions import Fraction
from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from fairway.base.addresses import Family, IPAddress
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.affinity import Sticky
from fairway.dataplane.nft.layout import DoorClass, Policy, affinity_set, door_key, endpoint_value, fixed_sets, slot_key
from fairway.dataplane.nft.lower import lower
from fairway.dataplane.nft.ruleset import BaseHook, Chain, Elements, Rule, Ruleset, SetSpec
from fairway.dataplane.nft.run import Branch, Found, run
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from fairway.netlink.expressions import (
    ACCEPT,
    DROP,
    Cmp,
    CmpOp,
    Code,
    Counter,
    Expression,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Reject,
    Unknown,
    Update,
    Verdict,
    goto,
    jump,
)
from fairway.netlink.nftables import Hook
from fairway.plan.model import Backend, Backends, DoorKind, Scope, Source
from tests.dataplane.ipt.build import FAR, LOCAL, LOCAL_BACKENDS, NO_ENDPOINTS, ORIGIN, door, plan, port, ways

NODE = ip_address("172.18.0.1")
CLIENT = "203.0.113.7"
PLACE = door_key(ip_address("10.200.1.1"), Protocol.TCP, 80)


def is_own(address: IPAddress) -> bool:
    return address == NODE or address.is_loopback


def packet(destination: str, to: int = 80, *, source: str = CLIENT, from_node: bool = False) -> Packet:
    return Packet(source=ip_address(source), destination=ip_address(destination), port=to, from_node=from_node)


def send(ruleset: Ruleset, sent: Packet, **options: frozenset[str]) -> tuple[Branch, ...]:
    return run(ruleset, sent, is_own=is_own, **options)


def fates(branches: tuple[Branch, ...]) -> set[tuple[Disposition, tuple[IPAddress, int] | None, bool]]:
    return {(branch.disposition, branch.destination, branch.masquerade) for branch in branches}


def table(*rules: tuple[Expression, ...], elements: Elements | None = None, spec: SetSpec | None = None) -> Ruleset:
    """One base chain at prerouting with these rules, beside "inner", which accepts, and a set if any."""
    entry = Chain("entry", tuple(map(Rule, rules)), BaseHook(Hook.PREROUTING, -100))
    inner = Chain("inner", (Rule((ImmediateVerdict(ACCEPT),)),))
    sets = {spec.name: spec} if spec is not None else {}
    named = {spec.name: elements} if spec is not None and elements is not None else {}
    return Ruleset(Family.IPV4, "", sets, {"entry": entry, "inner": inner}, named)


def end_of(*rules: tuple[Expression, ...]) -> set[Disposition]:
    return {branch.disposition for branch in send(table(*rules), packet("10.200.1.1"))}


def test_a_packet_meets_the_chains_of_its_doors_class_and_is_sent_on() -> None:
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT, ways(masquerade=list(Source))))))
    to_local = next(branch for branch in send(ruleset, packet("172.18.0.1", 30080)) if branch.destination)
    assert [visit.chain for visit in to_local.visits] == [
        "nat-prerouting",
        "services",
        "dispatch",
        "nodeport-masquerade-2",
        "nodeport-masquerade-2",
        "nat-postrouting",
        "masquerading",
    ]


def test_a_visit_tells_which_elements_decided() -> None:
    """A trace names them, as `nft list` shows them."""
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP))))
    keep_two = DoorClass(Policy.KEEP, 2)
    (to_far,) = [each for each in send(ruleset, packet("10.200.1.1")) if each.destination == (FAR.address, 8080)]
    assert [found for visit in to_far.visits for found in visit.found] == [
        Found(layout.SERVICES, PLACE, keep_two.packed),
        Found(layout.CLASSES, keep_two.packed, goto("keep-2")),
        Found(layout.BACKENDS, PLACE + slot_key(1), endpoint_value(FAR)),
    ]


def test_each_backend_is_a_branch_with_its_probability() -> None:
    branches = send(lower(plan(port(door(DoorKind.CLUSTER_IP)))), packet("10.200.1.1"))
    assert {branch.destination: branch.probability for branch in branches} == {
        (LOCAL.address, 8080): Fraction(1, 2),
        (FAR.address, 8080): Fraction(1, 2),
    }


@pytest.mark.parametrize("affinity", [None, 60])
def test_one_of_hundreds_of_backends_is_as_likely_as_the_next(affinity: int | None) -> None:
    """With affinity that is a cascade of as many choices, each between one and all that are left."""
    count = 400
    choices = tuple(Backend.at(ip_address("10.10.4.0") + number, 8080) for number in range(count))
    outcome = Backends(scope=Scope.CLUSTER, choices=choices, origin=ORIGIN)
    crowded = replace(port(door(DoorKind.CLUSTER_IP, ways(outcome)), affinity=affinity), cluster=choices, local=())
    branches = send(lower(plan(crowded)), packet("10.200.1.1"))
    assert len(branches) == count
    assert {branch.probability for branch in branches} == {Fraction(1, count)}


def test_a_packet_for_nobody_passes() -> None:
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT))))
    assert fates(send(ruleset, packet("172.18.0.1", 22))) == {(Disposition.NONE, None, False)}
    assert fates(send(ruleset, packet("192.0.2.1", 30080))) == {(Disposition.NONE, None, False)}


def test_a_packet_of_the_other_family_meets_no_rule() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP))))
    (branch,) = send(ruleset, packet("fd00::1", source="fd00::2"))
    assert (branch.disposition, branch.visits) == (Disposition.NONE, ())


def test_what_the_node_sends_comes_by_the_hook_output() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP, ways(NO_ENDPOINTS)))))
    (branch,) = send(ruleset, packet("10.200.1.1", source="172.18.0.1", from_node=True))
    assert branch.disposition is Disposition.REJECT
    assert branch.visits[0].chain == "nat-output"


def test_a_remembered_source_stays_with_its_backend() -> None:
    sticky = port(door(DoorKind.CLUSTER_IP), affinity=60)
    some_plan = plan(sticky)
    remembered = frozenset({Sticky(sticky, some_plan).clients(FAR)})
    branches = send(lower(some_plan), packet("10.200.1.1"), remembered=remembered)
    assert [(branch.probability, branch.destination) for branch in branches] == [(1, (FAR.address, 8080))]


def test_doors_of_one_sticky_port_keep_to_their_own_backends_where_they_treat_sources_alike() -> None:
    """A clusterIP of the internal policy Local and a node port of the external policy Cluster, all masqueraded."""
    everybody = list(Source)
    cluster_ip = door(DoorKind.CLUSTER_IP, ways(LOCAL_BACKENDS, masquerade=everybody))
    node_port = door(DoorKind.NODE_PORT, ways(masquerade=everybody))
    for doors in ((cluster_ip, node_port), (node_port, cluster_ip)):
        ruleset = lower(plan(port(*doors, affinity=60)))
        assert fates(send(ruleset, packet("10.200.1.1"))) == {(Disposition.DNAT, (LOCAL.address, 8080), True)}
        assert len(fates(send(ruleset, packet("172.18.0.1", 30080)))) == 2


def test_a_backend_that_calls_itself_is_masqueraded() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP))))
    assert fates(send(ruleset, packet("10.200.1.1", source="10.10.1.2"))) == {
        (Disposition.DNAT, (LOCAL.address, 8080), True),
        (Disposition.DNAT, (FAR.address, 8080), False),
    }


def test_a_range_holds_a_key_each_of_whose_fields_is_in_its_range() -> None:
    """As a whole the key lies between the ends of the range also where only its first field does."""
    allowed = (ip_network("203.0.113.0/24"), ip_network("198.51.100.9/32"))
    ruleset = lower(plan(port(door(DoorKind.LOAD_BALANCER_IP, allowed_sources=allowed))))
    met = {
        source: {branch.disposition for branch in send(ruleset, packet("172.18.255.1", source=source))}
        for source in ("203.0.113.0", "203.0.113.255", "198.51.100.9", "203.0.114.0", "198.51.100.8", "200.0.0.1")
    }
    assert [source for source, fate in met.items() if fate == {Disposition.DNAT}] == [
        "203.0.113.0",
        "203.0.113.255",
        "198.51.100.9",
    ]
    assert [source for source, fate in met.items() if fate == {Disposition.DROP}] == [
        "203.0.114.0",
        "198.51.100.8",
        "200.0.0.1",
    ]


def test_a_verdict_ends_a_chain_as_the_kernel_has_it() -> None:
    drop = (ImmediateVerdict(DROP),)
    assert end_of((ImmediateVerdict(ACCEPT),), drop) == {Disposition.NONE}
    assert end_of((ImmediateVerdict(jump("inner")),), drop) == {Disposition.NONE}
    assert end_of((ImmediateVerdict(Verdict(Code.RETURN)),), drop) == {Disposition.NONE}
    assert end_of((Reject(3),), drop) == {Disposition.REJECT}
    assert end_of((Counter(),), drop) == {Disposition.DROP}


def test_who_was_led_by_goto_does_not_come_back_and_who_was_led_by_jump_does() -> None:
    back = Chain("inner", ())
    for verdict, expected in ((jump("inner"), Disposition.DROP), (goto("inner"), Disposition.NONE)):
        ruleset = table((ImmediateVerdict(verdict),), (ImmediateVerdict(DROP),))
        ruleset = replace(ruleset, chains={**ruleset.chains, "inner": back})
        assert [branch.disposition for branch in send(ruleset, packet("10.200.1.1"))] == [expected]


def test_what_a_rule_did_before_it_broke_off_stays_done() -> None:
    """The kernel undoes nothing: a packet keeps the mark of a rule whose later look-up fails."""
    mark = (
        Immediate((1).to_bytes(4, sys.byteorder)),
        MetaSet(MetaKey.MARK),
        Cmp(CmpOp.EQ, bytes(4)),
        ImmediateVerdict(DROP),
    )
    (branch,) = send(table(mark), packet("10.200.1.1"))
    assert (branch.disposition, branch.mark) == (Disposition.NONE, 1)
    assert branch.visits == ()


def test_a_choice_is_followed_both_ways() -> None:
    one_in_three = (Numgen(3, 5), Cmp(CmpOp.EQ, (6).to_bytes(4, sys.byteorder)), ImmediateVerdict(DROP))
    branches = send(table(one_in_three), packet("10.200.1.1"))
    assert {branch.disposition: branch.probability for branch in branches} == {
        Disposition.DROP: Fraction(1, 3),
        Disposition.NONE: Fraction(2, 3),
    }


def test_an_inverted_look_up_goes_on_where_nothing_is_found() -> None:
    spec = fixed_sets(Family.IPV4)[layout.CLUSTER_IPS]
    daddr = Payload(PayloadBase.NETWORK, 16, 4)
    rule = (daddr, Lookup(spec.name, inverted=True), ImmediateVerdict(DROP))
    ruleset = table(rule, spec=spec, elements={ip_address("10.200.1.1").packed: None})
    assert send(ruleset, packet("10.200.1.1"))[0].disposition is Disposition.NONE
    assert send(ruleset, packet("10.200.1.2"))[0].disposition is Disposition.DROP


def test_a_register_that_holds_nothing_is_not_read() -> None:
    """Newer kernels refuse such rules; older ones let them have what another rule left there."""
    for rule in (
        (Cmp(CmpOp.EQ, bytes(4)),),
        (MetaSet(MetaKey.MARK),),
        (Meta(MetaKey.L4PROTO), Cmp(CmpOp.EQ, bytes(8))),
        (Update("clients"),),
    ):
        with pytest.raises(ValueError, match="nothing was loaded"):
            send(table(rule, spec=affinity_set(Family.IPV4, "clients", 60)), packet("10.200.1.1"))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (Unknown("log", b""), "log"),
        (Payload(PayloadBase.NETWORK, 8, 1), "nothing that packets have"),
        (Payload(PayloadBase.TRANSPORT, 0, 2), "nothing that packets have"),
    ],
)
def test_rules_that_are_none_of_ours_are_refused(expression: Expression, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        send(table((expression,)), packet("10.200.1.1"))


def test_masquerading_alone_translates_no_destination() -> None:
    (branch,) = send(table((Masquerade(),)), packet("10.200.1.1"))
    assert fates((branch,)) == {(Disposition.NONE, None, False)}
