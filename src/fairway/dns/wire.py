"""From the bytes of a query to those of its response (RFC 1035, RFC 6891). Pure but for the order of records."""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
from dns.rcode import Rcode
from dns.rdataclass import IN
from dns.rdatatype import AXFR, IXFR, RdataType

from fairway.dns.answer import Question, View, answer

UDP_PAYLOAD = 1232
"""What we take and send in one datagram: what surely meets no fragmentation (DNS Flag Day 2020)."""

PLAIN_PAYLOAD = 512
"""For a client without EDNS (RFC 1035 4.2.1)."""

MAX_MESSAGE = 0xFFFF
"""What the length before a message of TCP can say."""

_HEADER = struct.Struct("!HHHHHH")


def respond(wire: bytes, view: View, *, datagram: bool) -> bytes | None:
    """The response to what came from a client; None for what must not be answered.

    datagram: it has to fit in one, so what is too long is cut, and marked (TC) for the client to ask again over TCP.
    """
    if len(wire) < _HEADER.size:
        return None
    flags = _HEADER.unpack_from(wire)[1]
    if flags & dns.flags.QR:
        return None
    if dns.opcode.from_flags(flags) is not dns.opcode.QUERY:
        return failure(wire, dns.rcode.NOTIMP)
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return failure(wire, dns.rcode.FORMERR)
    if not isinstance(query, dns.message.QueryMessage) or len(query.question) != 1:
        return failure(wire, dns.rcode.FORMERR)
    response = _response(query, view)
    # The order of the records of a name is left to chance, so that clients that take the first spread.
    limit = max(PLAIN_PAYLOAD, min(query.payload, UDP_PAYLOAD)) if query.edns >= 0 else PLAIN_PAYLOAD
    return response.to_wire(max_size=limit if datagram else MAX_MESSAGE, prefer_truncation=True)


def failure(wire: bytes, rcode: Rcode) -> bytes:
    """A response that repeats nothing of a query but its number and what it asked for."""
    number, flags, *_ = _HEADER.unpack_from(wire)
    asked = flags & (0x7800 | dns.flags.RD)
    return _HEADER.pack(number, dns.flags.QR | asked | rcode, 0, 0, 0, 0)


def _response(query: dns.message.QueryMessage, view: View) -> dns.message.Message:
    # RA: an answer is as complete as it gets here, and resolvers turn away from a server that only refers.
    response = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    asked = query.question[0]
    if query.edns > 0:
        response.set_rcode(dns.rcode.BADVERS)
        return response
    if asked.rdclass is not IN or asked.rdtype in (AXFR, IXFR):
        response.set_rcode(dns.rcode.REFUSED)
        return response
    told = answer(Question(name=asked.name, type=RdataType(asked.rdtype)), view)
    response.set_rcode(told.rcode)
    if told.authoritative:
        response.flags |= dns.flags.AA
    response.answer = list(told.answer)
    response.authority, response.additional = list(told.authority), list(told.additional)
    return response
