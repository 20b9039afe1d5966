"""Bytes in, bytes out: what a resolver on the other side reads."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.update
import pytest
from dns.message import Message, make_query

from fairway.dns.wire import respond
from tests.dns.clusters import CLUSTER, HTTP, endpoint, endpoint_slice, service, view

WEB = "web.default.svc.cluster.local"
MANY = 300

LARGE = view(
    [service("a/db", "None", ports=[HTTP])],
    [endpoint_slice("a/db", *(endpoint(f"10.10.{n >> 8}.{n & 255}") for n in range(MANY)), of="db", ports=[HTTP])],
)


def asked(query: Message, *, over: str = "udp", of: Any = CLUSTER) -> Message:
    told = respond(query.to_wire(), of, datagram=over == "udp")
    assert told is not None
    read = dns.message.from_wire(told)
    assert read.id == query.id
    assert read.flags & dns.flags.QR
    return read


def test_an_answer_repeats_the_question_and_is_ours() -> None:
    read = asked(make_query(WEB.upper(), "A"))
    assert read.question[0].name.to_text() == f"{WEB.upper()}."
    assert dns.flags.to_text(read.flags) == "QR AA RD RA"
    assert [each.to_text() for each in read.answer] == [f"{WEB.upper()}. 5 IN A 10.200.1.7"]


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (make_query("no." + WEB, "A"), dns.rcode.NXDOMAIN),
        (make_query("example.com", "A"), dns.rcode.REFUSED),
        (make_query("version.bind", "TXT", rdclass="CH"), dns.rcode.REFUSED),
        (make_query("cluster.local", "AXFR"), dns.rcode.REFUSED),
        (make_query(WEB, "A", use_edns=1), dns.rcode.BADVERS),
        (dns.update.UpdateMessage("cluster.local"), dns.rcode.NOTIMP),
        (dns.message.Message(), dns.rcode.FORMERR),
    ],
)
def test_what_is_not_answered_is_told_by_its_code(query: Message, rcode: int) -> None:
    read = asked(query)
    assert (read.rcode(), list(read.answer)) == (rcode, [])


def test_what_a_client_may_send_more_than_one_question_of_is_wrong() -> None:
    query = make_query(WEB, "A")
    query.question *= 2
    assert asked(query).rcode() == dns.rcode.FORMERR


def test_bytes_that_are_no_message_are_told_so() -> None:
    wire = make_query(WEB, "A").to_wire()
    told = respond(wire[:-3], CLUSTER, datagram=True)
    assert told is not None
    assert (told[:2], told[3] & 15, len(told)) == (wire[:2], dns.rcode.FORMERR, 12)


@pytest.mark.parametrize("wire", [b"", b"\x00" * 11, dns.message.make_response(make_query(WEB, "A")).to_wire()])
def test_what_is_no_query_is_never_answered(wire: bytes) -> None:
    assert respond(wire, CLUSTER, datagram=True) is None


@pytest.mark.parametrize(
    ("edns", "limit"), [({}, 512), ({"use_edns": 0, "payload": 700}, 700), ({"use_edns": 0, "payload": 4096}, 1232)]
)
def test_a_datagram_holds_what_the_client_can_take_and_says_that_there_is_more(
    edns: dict[str, Any], limit: int
) -> None:
    query = make_query("db.a.svc.cluster.local", "A", **edns)
    told = respond(query.to_wire(), LARGE, datagram=True)
    assert told is not None
    assert len(told) <= limit
    read = dns.message.from_wire(told)
    assert read.flags & dns.flags.TC
    assert (read.edns, read.payload if edns else 0) == ((0, 1232) if edns else (-1, 0))


def test_a_stream_holds_it_all() -> None:
    read = asked(make_query("db.a.svc.cluster.local", "A"), over="tcp", of=LARGE)
    assert not read.flags & dns.flags.TC
    assert len(read.answer[0]) == MANY


def test_the_addresses_of_targets_are_left_out_before_anything_is_cut() -> None:
    query = make_query("_http._tcp.db.shop.svc.cluster.local", "SRV")
    whole = len(respond(query.to_wire(), CLUSTER, datagram=False) or b"")
    endpoints = [endpoint(f"10.10.1.{n}", f"a-rather-long-hostname-{n}") for n in range(5)]
    few = view(
        [service("shop/db", "None", ports=[HTTP])], [endpoint_slice("shop/db", *endpoints, of="db", ports=[HTTP])]
    )
    read = asked(query, of=few)
    assert whole < 512
    assert not read.flags & dns.flags.TC
    assert len(read.answer[0]) == len(endpoints)
    assert len(read.additional) < len(endpoints)


def test_clients_that_take_the_first_address_spread() -> None:
    query = make_query("db.shop.svc.cluster.local", "A")
    first = {str(asked(query).answer[0][0]) for _ in range(200)}
    assert first == {"10.10.1.2", "10.10.1.3", "10.10.1.5"}
