"""Frames are read as they are on the wire, also those that an ICMP error quotes."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from fairway.cluster.verify.taps import Frame, read_frame
from fairway.flow.packet import Protocol

NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17}
PAIRS = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]


def header(number: int, source: str, destination: str, payload: bytes, options: bytes = b"") -> bytes:
    """An IP header of either version with what follows it."""
    one, other = ip_address(source), ip_address(destination)
    if one.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), number, 64) + one.packed + other.packed + payload
    words = 5 + len(options) // 4
    first = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(payload), 0, 0, 64, number, 0)
    return first + one.packed + other.packed + options + payload


def unreachable(source: str, destination: str, quoted: bytes, code: int | None = None) -> bytes:
    if ip_address(source).version == 6:
        return header(58, source, destination, bytes([1, 4 if code is None else code, *bytes(6)]) + quoted)
    return header(1, source, destination, bytes([3, 3 if code is None else code, *bytes(6)]) + quoted)


@pytest.mark.parametrize("protocol", NUMBERS)
@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_packet_and_its_refusal_are_told_apart(protocol: Protocol, source: str, destination: str) -> None:
    data = header(NUMBERS[protocol], source, destination, struct.pack("!HH", 4321, 80) + bytes(16))
    frame = Frame(source=(ip_address(source), 4321), destination=(ip_address(destination), 80), protocol=protocol)
    refused = Frame(source=frame.source, destination=frame.destination, protocol=protocol, refused=True)
    assert read_frame(data) == frame
    assert read_frame(unreachable(destination, source, data)) == refused


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_other_errors_and_protocols_are_none_of_it(source: str, destination: str) -> None:
    data = header(17, source, destination, struct.pack("!HH", 4321, 80) + bytes(16))
    assert read_frame(unreachable(destination, source, data, code=0)) is None
    assert read_frame(header(132, source, destination, bytes(20))) is None


def test_options_of_a_header_are_passed_over() -> None:
    data = header(6, *PAIRS[0], struct.pack("!HH", 1, 2) + bytes(16), options=bytes(8))
    frame = read_frame(data)
    assert frame is not None
    assert (frame.source[1], frame.destination[1]) == (1, 2)
