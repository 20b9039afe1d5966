"""Fills a node's table of tracked connections, up to the kernel's limit, and empties it again.

The limit (nf_conntrack_max) is the machine's and no network namespace's to set, but each namespace has a count of its
own that is held against it. So the entries are real ones, in the node's own table: established connections of addresses
that nobody has (240.0.0.0/4), which the kernel neither forgets nor gives up for others.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import islice

from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.netlink.conntrack import (
    IPPROTO_TCP,
    TcpState,
    Tuple,
    decode_usage,
    delete_marked,
    get_usage,
    new_established,
)
from fairway.netlink.flows import FlowTable
from fairway.netlink.nftables import body_of
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.wire import encode_message

_SOURCE, _FIRST_TARGET = int(IPv4Address("240.0.0.1")), int(IPv4Address("240.1.0.0"))
_PORTS, _UNLIKE_ALL_ELSE = 65535, 0xBEEF
_MARK, _ALL_BITS = 0xFA170000, 0xFFFFFFFF
"""Of our entries, with the fault's number: by it they are found again, and no others."""
_AT_ONCE = 256
_ROOM = 1 << 20
_REFILL_S = 0.05
"""What other connections leave free when they end is taken so soon after."""


class Filler:
    """The table of one network namespace, held full to `percent` of the limit. In a running event loop.

    namespace: a file descriptor of it, which is not kept. number: of the fault.
    """

    def __init__(self, namespace: int, number: int, percent: int) -> None:
        self._kernel = NetlinkSocket(namespace=namespace)
        self._table = FlowTable(namespace=namespace)
        self._kernel.reserve(_ROOM)
        self._mark = _MARK | (number & 0xFFFF)
        self._percent = percent
        self._next = 0
        self._target, self._pieces = -1, [b""]
        self._refill: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Fill it. Raises Refused where the kernel takes no entries at all."""
        self._empty()  # what a killed keeper left
        self._drop_ended()
        refusal = self._fill()
        if not self._next:
            raise Refused(f"the table of connections takes no entries: {errno.errorcode.get(refusal, refusal)}")
        self._refill_later()

    def close(self) -> None:
        """Take our entries out again."""
        if self._refill is not None:
            self._refill.cancel()
        self._empty()
        self._kernel.close()
        self._table.close()

    def _drop_ended(self) -> None:
        """Have connections forgotten that are at their end: each that ran out would let another in meanwhile."""
        for flow in list(self._table.flows(Family.IPV4, IPPROTO_TCP)):
            if flow.state is not TcpState.ESTABLISHED:
                self._table.delete(flow)

    def _refill_later(self) -> None:
        self._refill = asyncio.get_running_loop().call_later(_REFILL_S, self._fill_again)

    def _fill_again(self) -> None:
        self._fill()
        self._refill_later()

    def _fill(self) -> int:
        """Add entries until there are enough, or the kernel takes no more; its last refusal, 0 for none."""
        while (lacking := self._lacking()) > 0:
            batch = min(lacking, _AT_ONCE)
            if refusal := self._kernel.tell(b"".join(islice(self._entries(), batch))):
                return refusal
        return 0

    def _lacking(self) -> int:
        for _, data in self._kernel.ask(get_usage()):
            usage = decode_usage(body_of(data))
            return usage.limit * self._percent // 100 - usage.entries
        return 0

    def _entries(self) -> Iterator[bytes]:
        """One after another, none twice: of the same hosts only their ports differ, which are put in by hand."""
        while True:
            target, port = divmod(self._next, _PORTS)
            if target != self._target:
                self._target, self._pieces = target, _pieces(target, self._mark)
            self._next += 1
            yield (port + 1).to_bytes(2, "big").join(self._pieces)

    def _empty(self) -> None:
        self._kernel.ask(delete_marked(self._mark, _ALL_BITS))


def _pieces(target: int, mark: int) -> list[bytes]:
    """The message for an entry to the target of this number, cut where the client's port goes."""
    flow = Tuple(IPv4Address(_SOURCE), IPv4Address(_FIRST_TARGET + target), _UNLIKE_ALL_ELSE, 0)
    request = new_established(flow, mark)
    whole = encode_message(request.kind, request.flags, 0, request.body)
    return whole.split(_UNLIKE_ALL_ELSE.to_bytes(2, "big"))
