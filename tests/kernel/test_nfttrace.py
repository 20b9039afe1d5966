"""The kernel tells a packet's way while somebody asks, and holds nothing of it afterwards."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

FOREIGN = """
table ip other {
  chain input {
    type filter hook input priority 0; policy accept
    tcp dport 9 counter jump closed
  }
  chain closed {
    tcp dport 9 drop
  }
}
"""


def nft(*args: str, stdin: str = "") -> str:
    return subprocess.run(["nft", *args], input=stdin, check=True, capture_output=True, text=True).stdout


def call_discard(source_port: int) -> None:
    """Send the first packet of a connection; nothing answers it."""
    with socket.socket() as client:
        client.setblocking(False)
        client.bind(("127.0.0.1", source_port))
        client.connect_ex(("127.0.0.1", 9))


def trace(end: str) -> tuple[str, str]:
    nft("-f", "-", stdin=FOREIGN)
    argv = [sys.executable, "-m", "fairway.cluster.nfttrace", "41003"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert "fairway-trace" in nft("list", "tables")
        call_discard(41002)
        call_discard(41003)
        told = "".join(program.stdout.readline() for _ in range(3))
        if end == "killed":
            program.send_signal(signal.SIGKILL)
        else:
            program.stdin.close()
            told += program.stdout.read()
        program.wait()
    return told, nft("list", "tables")


@pytest.mark.parametrize("end", ["asked to", "killed"])
def test_each_rule_the_packet_matched_is_told_and_the_table_goes_with_the_program(end: str) -> None:
    told, tables = in_namespaces(trace, end)
    assert told == (
        "127.0.0.1:41003 -> 127.0.0.1:9\n  input                   jump closed\n  closed                  drop\n"
    )
    assert tables == "table ip other\n"


def trace_over_ipv6() -> str:
    nft("-f", "-", stdin=FOREIGN.replace("table ip ", "table ip6 "))
    argv = [sys.executable, "-m", "fairway.cluster.nfttrace", "-6", "41003"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        with socket.socket(socket.AF_INET6) as client:
            client.setblocking(False)
            client.bind(("::1", 41003))
            client.connect_ex(("::1", 9))
        told = "".join(program.stdout.readline() for _ in range(3))
        program.stdin.close()
        told += program.stdout.read()
    return told


def test_over_ipv6_the_same_is_told() -> None:
    assert in_namespaces(trace_over_ipv6) == (
        "[::1]:41003 -> [::1]:9\n  input                   jump closed\n  closed                  drop\n"
    )
