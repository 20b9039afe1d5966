"""Tracked flows as the kernel tells them: real packets in a namespace, listed, and one of them taken out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from fairway.base.addresses import Family
from fairway.base.errors import Unsupported
from fairway.netlink.conntrack import IPPROTO_TCP, IPPROTO_UDP, Flow, Status, TcpState, Tuple
from fairway.netlink.flows import FlowTable
from tests.kernel.namespaces import CLONE_NEWNET, in_namespaces, unshare

pytestmark = pytest.mark.kernel

DOOR_PORT, SERVER_PORT = 5353, 8053
HOST = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
SOCKET = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
REDIRECT = f"""
table inet test {{
  chain doors {{
    type nat hook output priority -100;
    udp dport {DOOR_PORT} redirect to :{SERVER_PORT}
  }}
}}
"""
"""A nat chain has the kernel track; what is sent to the door arrives at the server."""


@contextmanager
def flows_of(family: Family) -> Iterator[tuple[FlowTable, dict[str, Tuple]]]:
    """Two UDP flows to the door and a TCP connection, all on loopback, and where each of them is from and to."""
    subprocess.run(["nft", "-f", "-"], input=REDIRECT, text=True, check=True)
    host, kind = HOST[family], SOCKET[family]
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, SERVER_PORT), family=kind))
        clients: dict[str, socket.socket] = {}
        for name in ("first", "second"):
            clients[name] = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
            clients[name].connect((host, DOOR_PORT))
            clients[name].send(b"?")
        clients["tcp"] = stack.enter_context(socket.create_connection((host, SERVER_PORT)))
        stack.enter_context(server.accept()[0])
        address = ip_address(host)
        ends = {
            name: Tuple(address, address, client.getsockname()[1], client.getpeername()[1])
            for name, client in clients.items()
        }
        yield stack.enter_context(FlowTable()), ends


def in_flows(family: Family, test: Callable[[FlowTable, dict[str, Tuple]], None]) -> None:
    def play() -> None:
        with flows_of(family) as (table, ends):
            test(table, ends)

    in_namespaces(play)


def by_original(flows: Iterator[Flow]) -> dict[Tuple, Flow]:
    return {flow.original: flow for flow in flows}


@pytest.mark.parametrize("family", Family)
def test_flows_are_listed_with_both_their_tuples(family: Family) -> None:
    def test(table: FlowTable, ends: dict[str, Tuple]) -> None:
        found = by_original(table.flows(family))
        assert found.keys() == set(ends.values())
        first, tcp = found[ends["first"]], found[ends["tcp"]]
        address = ends["first"].destination
        assert first.protocol == IPPROTO_UDP
        assert first.reply == Tuple(address, address, SERVER_PORT, ends["first"].source_port)
        assert first.status & Status.DST_NAT
        assert not first.status & Status.SEEN_REPLY
        assert first.state is None
        assert 0 < first.timeout_s <= 30
        assert (tcp.protocol, tcp.state) == (IPPROTO_TCP, TcpState.ESTABLISHED)
        assert tcp.status & Status.ASSURED
        assert not tcp.status & Status.DST_NAT

    in_flows(family, test)


@pytest.mark.parametrize("family", Family)
def test_flows_of_one_protocol_or_family_are_listed_alone(family: Family) -> None:
    def test(table: FlowTable, ends: dict[str, Tuple]) -> None:
        other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
        assert by_original(table.flows(family, IPPROTO_UDP)).keys() == {ends["first"], ends["second"]}
        assert by_original(table.flows(family, IPPROTO_TCP)).keys() == {ends["tcp"]}
        assert not by_original(table.flows(other))

    in_flows(family, test)


@pytest.mark.parametrize("family", Family)
def test_flows_to_some_ports_are_listed_alone(family: Family) -> None:
    def test(table: FlowTable, ends: dict[str, Tuple]) -> None:
        assert by_original(table.flows(family, ports={SERVER_PORT})).keys() == {ends["tcp"]}
        assert by_original(table.flows(family, IPPROTO_UDP, ports={SERVER_PORT})).keys() == set()
        both = by_original(table.flows(family, ports={SERVER_PORT, DOOR_PORT}))
        assert both.keys() == set(ends.values())

    in_flows(family, test)


@pytest.mark.parametrize("family", Family)
def test_exactly_one_flow_is_deleted(family: Family) -> None:
    def test(table: FlowTable, ends: dict[str, Tuple]) -> None:
        first = by_original(table.flows(family))[ends["first"]]
        assert table.usage().entries == 3
        assert table.delete(first)
        assert by_original(table.flows(family)).keys() == {ends["second"], ends["tcp"]}
        assert table.usage().entries == 2
        assert not table.delete(first)
        assert table.usage().entries == 2

    in_flows(family, test)


def test_a_flow_that_took_the_place_of_the_one_meant_stays() -> None:
    """A client that goes on sending makes it anew at once, and that one is right."""

    def play() -> None:
        with flows_of(Family.IPV4) as (table, ends):
            old = by_original(table.flows(Family.IPV4))[ends["first"]]
            assert table.delete(old)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                again.connect((HOST[Family.IPV4], DOOR_PORT))
                again.send(b"?")
                new_end = Tuple(old.original.source, old.original.destination, again.getsockname()[1], DOOR_PORT)
                new = by_original(table.flows(Family.IPV4))[new_end]
                mistaken = Flow(
                    family=new.family,
                    protocol=new.protocol,
                    original=new.original,
                    reply=new.reply,
                    identifier=old.identifier,
                )
                assert not table.delete(mistaken)
                assert table.delete(new)

    in_namespaces(play)


def test_the_limit_is_the_kernels() -> None:
    def play() -> None:
        with FlowTable() as table, open("/proc/sys/net/netfilter/nf_conntrack_max") as limit:
            assert table.usage().limit == int(limit.read())

    in_namespaces(play)


def test_another_namespace_can_be_asked() -> None:
    """`namespace` is where it looks, not where its caller is."""

    def play() -> None:
        with flows_of(Family.IPV4) as (_, ends):
            here = os.open("/proc/self/ns/net", os.O_RDONLY)
            unshare(CLONE_NEWNET)
            with FlowTable() as empty, FlowTable(namespace=here) as table:
                assert not by_original(empty.flows(Family.IPV4))
                assert by_original(table.flows(Family.IPV4)).keys() == set(ends.values())
            os.close(here)

    in_namespaces(play)


@pytest.mark.parametrize("family", Family)
def test_the_conntrack_program_lists_the_same(family: Family) -> None:
    program = shutil.which("conntrack")
    if program is None:
        pytest.skip("the conntrack program is not installed")

    def test(table: FlowTable, ends: dict[str, Tuple]) -> None:
        listing = subprocess.run(
            [program, "-L", "-f", family.api_name.lower()], capture_output=True, text=True, check=True
        ).stdout
        told = {
            tuple(
                word.partition("=")[2] for word in line.split() if word.startswith(("src=", "dst=", "sport=", "dport="))
            )
            for line in listing.splitlines()
        }
        ours = {
            tuple(
                text
                for each in (flow.original, flow.reply)
                for text in map(str, (each.source, each.destination, each.source_port, each.destination_port))
            )
            for flow in table.flows(family)
        }
        assert ours == told
        assert len(ours) == 3

    in_flows(family, test)


def test_without_the_privilege_it_says_so() -> None:
    def play() -> None:
        os.setgid(65534)
        os.setuid(65534)
        with FlowTable() as table, pytest.raises(Unsupported, match="CAP_NET_ADMIN"):
            table.usage()

    if os.geteuid():
        pytest.skip("a user namespace has one user")
    in_namespaces(play)
