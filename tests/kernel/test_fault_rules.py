"""The rules that lose packets, in a kernel: how many they lose, of which link, and nothing once they are deleted."""

from __future__ import annotations

import socket

import pytest

from fairway.cluster.fault.rules import NFPROTO_INET, lossy, mended
from fairway.fabric.syscalls import set_loopback_up
from fairway.netlink.socket import NetlinkSocket
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

SENT = 1000


@pytest.mark.parametrize(
    ("link", "percent", "least", "most"),
    [
        # Each packet is met as it goes and as it comes. Of a thousand that arrive with a chance of a quarter each,
        # fewer than 100 or more than 450 do not come once in the age of the universe.
        ("lo", 50, 100, 450),
        ("lo", 100, 0, 0),
        ("eth0", 100, SENT, SENT),
    ],
)
def test_a_share_of_packets_is_lost(link: str, percent: int, least: int, most: int) -> None:
    def look() -> tuple[int, int]:
        set_loopback_up()
        with NetlinkSocket() as kernel:
            kernel.commit(lossy(NFPROTO_INET, 3, link, percent))
            during = arrived()
            kernel.commit([mended(NFPROTO_INET, 3)])
        return during, arrived()

    during, after = in_namespaces(look)
    assert least <= during <= most
    assert after == SENT


def arrived() -> int:
    """How many of SENT datagrams come through loopback."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        count = 0
        for _ in range(SENT):
            try:
                sender.sendto(b"x", receiver.getsockname())
            except PermissionError:
                pass  # how the kernel tells the sender of a packet dropped on its way out
            try:
                receiver.recv(1)
                count += 1
            except BlockingIOError:
                pass
        return count
