"""Holds every frame of a link for a time: a wire in user space, for kernels with and without sch_netem.

The port of a machine is taken out of the lab's bridge and a pair of links put in its place, whose near end is a port of
the bridge; frames are carried between the port and the pair's far end by packet sockets. Each comes with what its
sender left to the hardware, checksums and segmentation (PACKET_VNET_HDR), so that it arrives as it would have.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path

from fairway.fabric.rtnl import RouteSocket, delete_link, new_veth, set_link, set_master
from fairway.fabric.steps import BRIDGE

_ETH_P_ALL = 0x0003
"""linux/if_ether.h"""
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 1, 15, 23
_PACKET_MR_PROMISC = 1
_MEMBERSHIP = struct.Struct("=iHH8s")
"""linux/if_packet.h, struct packet_mreq."""

_FRAME = 10 + 14 + 4 + 65535
"""virtio_net_hdr, Ethernet, a tag, and the longest packet that a sender leaves to be cut later."""
_BUFFER = 4 << 20
_MOST_HELD = 16 << 20
"""Bytes a wire holds each way; what comes beyond is dropped, as by any queue."""
_AT_ONCE = 64
"""Frames read in one go, so that neither way starves the other."""


class Wire:
    """A link that takes `delay_s` seconds each way. In a running event loop, in the bridge's network namespace.

    number: of the fault, which names the pair.
    """

    def __init__(self, port: str, number: int, delay_s: float) -> None:
        self._port = port
        self._near, self._far = f"fault{number}", f"fault{number}-far"
        self._delay_s = delay_s
        self._ways: list[_Way] = []

    def open(self) -> None:
        """Put it in the link's place. Raises OSError or RtnlError; then it is still to be closed."""
        bridge = socket.if_nametoindex(BRIDGE)
        with RouteSocket() as routes:
            routes.exchange([delete_link(self._near)], ignore=(errno.ENODEV,))  # what a killed keeper left
            routes.exchange([new_veth(self._near, peer=self._far, master=bridge, up=True)])
            _set_quiet(self._far, quiet=True)
            _set_quiet(self._port, quiet=True)
            routes.exchange([set_link(self._far, up=True), set_master(self._port, 0)])
        port, far = _packets(self._port), _packets(self._far)
        self._ways = [_Way(port, far, self._delay_s), _Way(far, port, self._delay_s)]

    def close(self) -> None:
        """Put the link back; frames that are held are lost. No error if it was never opened, or by another keeper."""
        for way in self._ways:
            way.close()
        self._ways = []
        _set_quiet(self._port, quiet=False)
        with RouteSocket() as routes:
            routes.exchange([set_master(self._port, socket.if_nametoindex(BRIDGE))])
            routes.exchange([delete_link(self._near)], ignore=(errno.ENODEV,))


class _Way:
    """Frames from one socket to another, each held for the same time, so that they leave as they came."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float) -> None:
        self._source, self._target, self._delay_s = source, target, delay_s
        self._held: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(source.fileno(), self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._source.fileno())
        self._source.close()
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        due = self._loop.time() + self._delay_s
        with suppress(OSError):  # nothing more waits, or the link is down for now
            for _ in range(_AT_ONCE):
                frame = self._source.recv(_FRAME)
                if self._bytes + len(frame) <= _MOST_HELD:
                    self._bytes += len(frame)
                    self._held.append((due, frame))
        self._arm()

    def _arm(self) -> None:
        if self._held and self._timer is None:
            self._timer = self._loop.call_at(self._held[0][0], self._send)

    def _send(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            _, frame = self._held.popleft()
            self._bytes -= len(frame)
            with suppress(OSError):  # a full queue, or a link that is down, loses a frame as any wire does
                self._target.send(frame)
        self._arm()


def _packets(link: str) -> socket.socket:
    """A socket for all frames that a link brings, whoever they are for, and for any to be sent by it."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    try:
        found.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        found.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        member = _MEMBERSHIP.pack(socket.if_nametoindex(link), _PACKET_MR_PROMISC, 0, b"")
        found.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, member)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        found.bind((link, _ETH_P_ALL))
    except BaseException:
        found.close()
        raise
    return found


def _set_quiet(link: str, *, quiet: bool) -> None:
    """Keep the lab's own namespace, which has the bridge's addresses, from answering what passes by a link."""
    for path, value in ((f"ipv4/conf/{link}/arp_ignore", "8"), (f"ipv6/conf/{link}/disable_ipv6", "1")):
        with suppress(FileNotFoundError):
            Path("/proc/sys/net", path).write_text(value if quiet else "0")
