"""Real packets through generated clusters: in both modes the kernel does what `evaluate` says, backend by backend."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fairway.base.addresses import IPAddress
from fairway.cluster.verify.compare import is_as_expected
from fairway.cluster.verify.places import write_settings
from fairway.cluster.verify.seen import Seen
from fairway.cluster.verify.wire import Wire, wire
from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.dataplane.ipt.corners import corner as ipt_corner
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.corners import corner as nft_corner
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition, Trace
from fairway.plan.assembly import Assembly
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backend, PortName
from fairway.plan.options import Mode, parse_options
from tests.agree.strategies import AIMS, NODE, NODE_ADDRESSES, Case, cases
from tests.kernel.cluster import LOCALNET, assembly_of
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

CASES = 40
PACKETS = 100
CLIENT, STRANGER, OTHER_NODE = "203.0.113.7", "192.168.10.9", "172.18.0.2"
PODS = tuple(f"10.10.{node}.{pod}" for node in (1, 2, 3) for pod in (2, 3))
HOSTS = (CLIENT, STRANGER, OTHER_NODE, *PODS)
LOOPBACK = "127.0.0.1"
TARGET_PORTS = (8080, 8443)
NODES_PORTS = (80, 443, 30080, 30443, 31999)
"""Where nodes hear what was sent to them and no rule sent on."""


class Memory:
    """Whom each client of a Service port has met: those that session affinity may keep it on."""

    def __init__(self) -> None:
        self._met: defaultdict[tuple[PortName, IPAddress], list[Backend]] = defaultdict(list)

    def expected(self, evaluator: Evaluator, packet: Packet) -> list[Trace]:
        """The fates a packet may have. One who met several, by doors that lead to different backends, may meet any."""
        opening = evaluator.opening(packet)
        anew = evaluator.evaluate(packet)
        if opening is None or opening.port.affinity is None:
            return [anew]
        kept = [evaluator.evaluate(packet, remembered=each) for each in self._met[opening.port.name, packet.source]]
        return [trace for trace in kept if trace != anew] or [anew]

    def note(self, evaluator: Evaluator, packet: Packet, seen: Seen) -> None:
        opening = evaluator.opening(packet)
        if opening is not None and seen.disposition is Disposition.DNAT and seen.server is not None:
            self._met[opening.port.name, packet.source].append(Backend.at(*seen.server))


@contextmanager
def wired() -> Iterator[Wire]:
    """The cluster that the cases are of: every address a source, every endpoint a server."""
    with wire() as node:
        write_settings(LOCALNET)
        for address in NODE_ADDRESSES:
            node.own(address)
        for address in HOSTS:
            node.link(address, NODE_ADDRESSES[0])
        node.route_all_to(CLIENT)
        places = [(address, port) for address in (*PODS, OTHER_NODE, NODE_ADDRESSES[0]) for port in TARGET_PORTS]
        places += [(address, port) for address in (*NODE_ADDRESSES, LOOPBACK, OTHER_NODE) for port in NODES_PORTS]
        for address, port in places:
            for protocol in (Protocol.TCP, Protocol.UDP):
                node.serve(address, port, protocol)
        yield node


def generated() -> list[Case]:
    """The same on every run, and each with something behind its doors."""
    found: list[Case] = []

    @settings(max_examples=3 * CASES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(cases())
    def gather(case: Case) -> None:
        if any(port.cluster for port in case.plan().ports):
            found.append(case)

    gather()
    assert len(found) >= CASES
    return found[:CASES]


def packets_to(evaluator: Evaluator, random: Random) -> Iterator[Packet]:
    """To doors more often than not, from everywhere."""
    doors = [(door, door.protocol) for port in evaluator.plan.ports for door in port.doors]
    for _ in range(PACKETS):
        if random.random() < 0.8:
            door, protocol = random.choice(doors)
            destination, port = str(door.address or random.choice((*NODE_ADDRESSES, LOOPBACK))), door.port
        else:
            (destination, port), protocol = random.choice(AIMS), random.choice((Protocol.TCP, Protocol.UDP))
        from_node = destination == LOOPBACK or random.random() < 0.3
        source = random.choice(NODE_ADDRESSES if from_node else HOSTS)
        if destination == LOOPBACK:
            source = LOOPBACK
        if from_node or source != destination:  # else it does not leave the host
            yield Packet(
                source=ip_address(source),
                destination=ip_address(destination),
                port=port,
                protocol=protocol,
                from_node=from_node,
            )


def meet(mode: Mode, apply: Callable[[Assembly], object]) -> tuple[list[str], Counter[str]]:
    """Send all packets of all cases; what was not as expected, and how many met each fate."""
    wrong: list[str] = []
    fates: Counter[str] = Counter()
    with wired() as node:
        for number, case in enumerate(generated()):
            options = parse_options(**case.options, mode=mode)
            assembly = assembly_of(case.objects, NODE, options)
            evaluator = Evaluator(assembly.plan())
            apply(Assembly(assembly.view))  # and all clients are forgotten
            apply(assembly)
            memory = Memory()
            for packet in packets_to(evaluator, Random(number)):
                corner = nft_corner if mode is Mode.NFTABLES else ipt_corner
                if corner(evaluator, packet):
                    continue
                expected = memory.expected(evaluator, packet)
                seen = node.send(packet)
                fates[seen.disposition.value] += 1
                memory.note(evaluator, packet, seen)
                if not is_as_expected(seen, expected, evaluator.is_own):
                    wrong.append(f"case {number}, {packet}: expected {expected[0].reason}, saw {seen}")
    return wrong, fates


def by_nftables() -> tuple[list[str], Counter[str]]:
    return meet(Mode.NFTABLES, partial(NftBackend().apply, changed=None))


def by_iptables(variant: Variant) -> tuple[list[str], Counter[str]]:
    backend = IptablesBackend(variant)
    return meet(Mode.IPTABLES, lambda assembly: backend.sync(assembly.plan()))


@pytest.mark.parametrize(
    "child",
    [
        pytest.param(by_nftables, id="nftables"),
        pytest.param(partial(by_iptables, Variant.NFT), id="iptables-nft"),
        pytest.param(partial(by_iptables, Variant.LEGACY), id="iptables-legacy"),
    ],
)
def test_real_packets_meet_what_evaluate_says(child: Callable[[], tuple[list[str], Counter[str]]]) -> None:
    wrong, fates = in_namespaces(child)
    assert wrong == []
    for fate in (Disposition.DNAT, Disposition.REJECT, Disposition.DROP, Disposition.NONE):
        assert fates[fate] >= CASES, fates
