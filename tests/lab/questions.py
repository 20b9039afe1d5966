"""Questions to a name server, asked from within a lab and read outside of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import dns.message
import dns.rdatatype
from dns.message import Message, make_query

from tests.lab.command import Answer

_ASK = """
import socket, sys
server, over = sys.argv[1:3]
for query in map(bytes.fromhex, sys.argv[3:]):
    if over == "udp":
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            asking.connect((server, 53))
            asking.send(query)
            answer = asking.recv(65535)
    else:
        with socket.create_connection((server, 53), 10) as asking:
            asking.sendall(len(query).to_bytes(2, "big") + query)
            stream = asking.makefile("rb")
            answer = stream.read(int.from_bytes(stream.read(2), "big"))
    print(answer.hex())
"""
"""The bytes of questions sent from where it runs, and those that come back."""


def asking(questions: Sequence[tuple[str, str]], *, server: str, over: str = "udp") -> list[str]:
    """The command that asks for (name, type) one after another, over udp or tcp."""
    return [sys.executable, "-c", _ASK, server, over, *(make_query(*each).to_wire().hex() for each in questions)]


def answers(told: Answer) -> list[Message]:
    """What that command said."""
    assert told.code == 0, told.err
    return [dns.message.from_wire(bytes.fromhex(line)) for line in told.out.split()]


def records(answer: Message) -> list[str]:
    """Type and value of each, sorted."""
    return sorted(f"{dns.rdatatype.to_text(each.rdtype)} {record}" for each in answer.answer for record in each)
