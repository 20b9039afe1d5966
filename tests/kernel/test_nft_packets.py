"""Real packets under the rules of nf_tables, and how those behave while they change: what no single packet shows."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from msgspec import structs

from fairway.base.addresses import IPAddress
from fairway.cluster.verify.compare import is_as_expected
from fairway.cluster.verify.seen import Seen
from fairway.cluster.verify.wire import PATIENCE_S, Call, Wire
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.affinity import Sticky
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.corners import corner
from fairway.dataplane.nft.layout import MASQUERADE_MARK
from fairway.dataplane.nft.ruleset import TABLE, SetSpec
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from fairway.netlink.elements import Shape, dump_elements, element_list
from fairway.netlink.expression_codec import encode_value
from fairway.netlink.expressions import (
    Expression,
    Immediate,
    Meta,
    MetaKey,
    MetaSet,
    Payload,
    PayloadBase,
    Update,
    word,
)
from fairway.netlink.nftables import (
    NFPROTO_IPV4,
    ChainInfo,
    Hook,
    Kind,
    body_of,
    delete_table,
    new_chain,
    new_rule,
    new_set,
    new_table,
    request,
)
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.wire import NLM_F_CREATE, attributes, each_attribute, nested, text, to_int, u64
from fairway.plan.assembly import Assembly
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backend
from fairway.plan.options import Mode
from tests.kernel.cluster import (
    CLIENT,
    FAR_POD,
    LOCAL_POD,
    NODE,
    NODE_ADDRESS,
    NODE_OBJECT,
    OBJECTS,
    all_packets,
    assembly_of,
    endpoints,
    options_of,
    service,
    wired,
)
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

CLIENTS = tuple(f"203.0.113.{number}" for number in range(100, 140))
BOTH = (LOCAL_POD, FAR_POD)
TIMEOUT_S = 60
STICKY = service(
    "web", 1, sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": TIMEOUT_S}}
)


def assembly(*objects: dict[str, Any]) -> Assembly:
    return assembly_of((NODE_OBJECT, *objects), NODE, options_of(Mode.NFTABLES))


def to_web(source: str = CLIENT, *, node_port: bool = False, protocol: Protocol = Protocol.TCP) -> Packet:
    """To the first Service, by its clusterIP or its node port."""
    place, port = (NODE_ADDRESS, 30001) if node_port else ("10.200.1.1", 80)
    return Packet(
        source=ip_address(source),
        destination=ip_address(place),
        port=port,
        protocol=protocol,
        from_node=source == NODE_ADDRESS,
    )


def test_real_packets_meet_what_evaluate_says() -> None:
    def child() -> tuple[list[str], dict[str, int]]:
        cluster = assembly(*OBJECTS)
        evaluator = Evaluator(cluster.plan())
        wrong, fates = [], dict.fromkeys(map(str, Disposition), 0)
        with wired() as node:
            for port in evaluator.plan.ports:  # where a node port is not open, the node itself is met
                for door in port.doors:
                    if door.address is None:
                        node.serve("127.0.0.1", door.port, door.protocol)
            NftBackend().apply(cluster, None)
            for packet in all_packets(evaluator.plan):
                if corner(evaluator, packet):
                    continue
                expected = evaluator.evaluate(packet)
                seen = node.send(packet)
                fates[seen.disposition.value] += 1
                if not is_as_expected(seen, [expected], evaluator.is_own):
                    wrong.append(f"{packet}: expected {expected.reason}, saw {seen}")
        return wrong, fates

    wrong, fates = in_namespaces(child)
    assert wrong == []
    assert all(fates[fate] for fate in set(Disposition) - {Disposition.ACCEPT})


def test_a_pod_that_calls_itself_is_answered() -> None:
    def child() -> Seen:
        with wired() as node:
            NftBackend().apply(assembly(service("web", 1), endpoints("web", [LOCAL_POD])), None)
            return node.send(to_web(LOCAL_POD))

    seen = in_namespaces(child)
    assert seen.server == (ip_address(LOCAL_POD), 8080)
    assert seen.peer == ip_address(NODE_ADDRESS)


# -- session affinity


@contextmanager
def sticky_web() -> Iterator[tuple[Wire, NftBackend, Assembly]]:
    """A Service with affinity and two backends, and a host of many clients."""
    cluster = assembly(STICKY, endpoints("web", BOTH))
    with wired() as node:
        for address in CLIENTS:
            node.add_address(CLIENT, address)
        backend = NftBackend()
        backend.apply(cluster, None)
        yield node, backend, cluster


def servers(node: Wire, sources: Sequence[str], *, node_port: bool = False) -> list[IPAddress]:
    met = [node.send(to_web(source, node_port=node_port)).server for source in sources]
    return [server[0] for server in met if server is not None]


def test_each_client_keeps_the_backend_it_met_first_whichever_door_it_takes() -> None:
    """That none of forty clients meets one of two backends happens once in 10^12 runs, and so does that all of them
    meet the same backend again by chance."""

    def child() -> list[list[IPAddress]]:
        with sticky_web() as (node, _, _):
            return [servers(node, CLIENTS, node_port=node_port) for node_port in (False, True, False)]

    first, *later = in_namespaces(child)
    assert set(first) == set(map(ip_address, BOTH))
    assert later == [first, first]


def test_clients_keep_their_backends_over_a_restart_and_a_new_endpoint() -> None:
    """Three backends, after a restart: the third is the node itself."""

    def child() -> tuple[list[IPAddress], list[IPAddress], bool, list[IPAddress], set[IPAddress]]:
        with sticky_web() as (node, former, cluster):
            node.serve(NODE_ADDRESS, 8080, Protocol.TCP)
            first = servers(node, CLIENTS)
            former.close()
            backend = NftBackend()
            sync = backend.apply(cluster, None)
            restarted = servers(node, CLIENTS)
            backend.apply(assembly(STICKY, endpoints("web", [*BOTH, NODE_ADDRESS])), None)
            grown = servers(node, CLIENTS)
            backend.apply(assembly(STICKY, endpoints("web", [NODE_ADDRESS])), None)
            return first, restarted, sync.changed, grown, set(servers(node, CLIENTS))

    first, restarted, changed, grown, left = in_namespaces(child)
    assert not changed
    assert first == restarted == grown
    assert left == {ip_address(NODE_ADDRESS)}


def clients_of(cluster: Assembly, address: str) -> str:
    """The name of an endpoint's set of clients."""
    (port,) = cluster.plan().ports
    return Sticky(port, cluster.view).clients(Backend.at(ip_address(address), 8080))


ELEMENTS, KEY, TIMEOUT, EXPIRATION = 3, 1, 4, 5
"""enum nft_set_elem_list_attributes, enum nft_set_elem_attributes of linux/netfilter/nf_tables.h."""


def expirations(handle: NetlinkSocket, name: str) -> dict[IPAddress, int]:
    """The clients of a set, and the milliseconds that each is remembered for yet."""
    found = {}
    for _, body in handle.ask(dump_elements(NFPROTO_IPV4, TABLE, name)):
        for _, element in each_attribute(element_list(body_of(body))[2]):
            parts = attributes(element)
            (key,) = attributes(parts[KEY]).values()
            found[IPv4Address(key)] = to_int(parts[EXPIRATION])
    return found


def remember(handle: NetlinkSocket, name: str, client: str, *, for_ms: int) -> None:
    """As if the client had come long ago, and had so much left."""
    key = nested(KEY, encode_value(ip_address(client).packed))
    element = nested(1, key, u64(TIMEOUT, TIMEOUT_S * 1000), u64(EXPIRATION, for_ms))
    parts = [text(1, TABLE), text(2, name), nested(ELEMENTS, element)]
    handle.commit([request(Kind.NEWSETELEM, NFPROTO_IPV4, *parts, flags=NLM_F_CREATE)])


def test_each_call_begins_the_time_of_a_client_anew_and_time_ends_it() -> None:
    def child() -> tuple[int | None, IPAddress, int, int]:
        with sticky_web() as (node, backend, cluster), NetlinkSocket() as handle:
            look = backend.look()
            assert look is not None
            far = clients_of(cluster, FAR_POD)
            remember(handle, far, CLIENT, for_ms=5000)
            before = expirations(handle, far)[ip_address(CLIENT)]
            (server,) = servers(node, [CLIENT])
            after = expirations(handle, far)[ip_address(CLIENT)]
            remember(handle, far, CLIENTS[0], for_ms=1)
            deadline = time.monotonic() + PATIENCE_S
            while ip_address(CLIENTS[0]) in expirations(handle, far):
                assert time.monotonic() < deadline, "the kernel forgets nobody"
            return look.sets[far].timeout_ms, server, before, after

    timeout_ms, server, before, after = in_namespaces(child)
    assert timeout_ms == TIMEOUT_S * 1000
    assert server == ip_address(FAR_POD)
    assert before <= 5000 < after <= TIMEOUT_S * 1000


# -- connections while rules change


def test_no_connection_breaks_when_rules_change() -> None:
    """Not by other endpoints, not by none, not when the agent starts anew or finds its table gone, and not when the
    Service goes."""

    def child() -> list[tuple[str, list[bool]]]:
        web = [service("web", 1), service("web-udp", 1, "UDP"), endpoints("web-udp", BOTH, "UDP")]
        web[1]["spec"]["clusterIP"] = "10.200.1.1"
        told: list[tuple[str, list[bool]]] = []
        with wired() as node, ExitStack() as stack:
            backend = NftBackend()
            backend.apply(assembly(*web, endpoints("web", BOTH)), None)
            calls: list[Call] = []
            for protocol in (Protocol.TCP, Protocol.UDP):
                for node_port in (False, True):
                    for source in (CLIENT, LOCAL_POD, NODE_ADDRESS):
                        packet = to_web(source, node_port=node_port, protocol=protocol)
                        _, call = stack.enter_context(node.call(packet))
                        assert call is not None
                        calls.append(call)
                        call.server.settimeout(PATIENCE_S)

            def tell(what: str) -> None:
                told.append((what, [call.works() for call in calls]))

            for what, pods in (("one endpoint", [FAR_POD]), ("none", []), ("the other", [LOCAL_POD])):
                backend.apply(assembly(*web[:2], endpoints("web", pods), endpoints("web-udp", pods, "UDP")), None)
                tell(what)
            NftBackend().apply(assembly(*web, endpoints("web", BOTH)), None)
            tell("restarted")
            with NetlinkSocket() as stranger:
                stranger.commit([delete_table(NFPROTO_IPV4, TABLE)])
            backend.apply(assembly(*web, endpoints("web", BOTH)), None)
            tell("deleted by a stranger and made again")
            backend.apply(assembly(), None)
            tell("no Service")
        return told

    for what, works in in_namespaces(child):
        assert all(works), what


# -- what a packet carries besides

WATCH = "watch"
OTHERS_MARK = 0xABC0_1234 & ~MASQUERADE_MARK
"""What a network plugin may have marked a packet with before our rules see it."""
PRIORITY = 5
LOWDELAY, INTERACTIVE = 0x10, 6
"""A type of service, and the priority that forwarding makes of it (rt_tos2priority in net/ipv4/route.c)."""
WITH_PRIORITY = (socket.SOL_SOCKET, socket.SO_PRIORITY, PRIORITY)
WITH_SERVICE = (socket.SOL_IP, socket.IP_TOS, LOWDELAY)


def watch(handle: NetlinkSocket) -> None:
    """Rules of somebody else: mark all packets before ours see them, and note what leaves with what."""
    key = (layout.PRIORITY, layout.PRIORITY, layout.L4PROTO, layout.DPORT)
    spec = SetSpec("seen", key, timeout_s=TIMEOUT_S, size=100)
    mark = (Immediate(OTHERS_MARK.to_bytes(4, sys.byteorder)), MetaSet(MetaKey.MARK))
    note = (
        Meta(MetaKey.MARK),
        Meta(MetaKey.PRIORITY, dreg=word(1, 1)),
        Meta(MetaKey.L4PROTO, dreg=word(1, 2)),
        Payload(PayloadBase.TRANSPORT, 2, 2, dreg=word(1, 3)),
        Update("seen"),
    )
    requests = [new_table(NFPROTO_IPV4, WATCH), new_set(NFPROTO_IPV4, structs.replace(spec.info, table=WATCH), 1)]
    hooks: tuple[tuple[str, Hook, int, tuple[Expression, ...]], ...] = (
        ("before", Hook.PREROUTING, -300, mark),
        ("before-output", Hook.OUTPUT, -300, mark),
        ("after", Hook.POSTROUTING, 300, note),
    )
    for name, hook, priority, expressions in hooks:
        requests.append(new_chain(NFPROTO_IPV4, ChainInfo(WATCH, name, int(hook), priority, policy=1, kind="filter")))
        requests.append(new_rule(NFPROTO_IPV4, WATCH, name, expressions, b""))
    handle.commit(requests)


def carried(handle: NetlinkSocket) -> set[tuple[int, int]]:
    """Mark and priority of what left for port 8080."""
    shape = Shape(16)
    found: set[bytes] = set()
    for _, body in handle.ask(dump_elements(NFPROTO_IPV4, WATCH, "seen")):
        found |= shape.unpack(element_list(body_of(body))[2]).keys()
    return {
        (int.from_bytes(key[:4], sys.byteorder), int.from_bytes(key[4:8], sys.byteorder))
        for key in found
        if int.from_bytes(key[12:14], "big") == 8080
    }


def test_packets_leave_with_the_mark_and_the_priority_they_came_with() -> None:
    """All but one: what the node itself sends to a Service has no priority in its first packet (see nft/layout.py)."""

    def child() -> dict[str, set[tuple[int, int]]]:
        packets = {
            "masqueraded": (to_web(node_port=True), WITH_SERVICE),
            "kept as it is": (to_web(LOCAL_POD), WITH_SERVICE),
            "by session affinity": (replace(to_web(), destination=ip_address("10.200.1.8")), WITH_SERVICE),
            "to no Service": (replace(to_web(), destination=ip_address(FAR_POD), port=8080), WITH_SERVICE),
            "from the node": (to_web(NODE_ADDRESS), WITH_PRIORITY),
            "from the node, to no Service": (
                replace(to_web(NODE_ADDRESS), destination=ip_address(FAR_POD), port=8080),
                WITH_PRIORITY,
            ),
        }
        left = {}
        with wired() as node, NetlinkSocket() as handle:
            NftBackend().apply(assembly(*OBJECTS), None)
            for what, (packet, option) in packets.items():
                watch(handle)
                with node.call(packet, option) as (_, call):
                    assert call is not None
                    left[what] = carried(handle)
                handle.commit([delete_table(NFPROTO_IPV4, WATCH)])
        return left

    left = in_namespaces(child)
    assert left.pop("from the node") == {(OTHERS_MARK, 0), (OTHERS_MARK, PRIORITY)}
    assert left.pop("from the node, to no Service") == {(OTHERS_MARK, PRIORITY)}
    assert all(each == {(OTHERS_MARK, INTERACTIVE)} for each in left.values()), left
