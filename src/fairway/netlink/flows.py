"""The kernel's table of tracked flows: read it, and take single flows out of it. I/O, on a socket of its own."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator

from fairway.base.addresses import Family
from fairway.base.errors import Retry, Unsupported
from fairway.netlink.conntrack import (
    Flow,
    Usage,
    decode_flow,
    decode_usage,
    delete_flow,
    dump_flows,
    family_of,
    get_usage,
    may_be_sent_to,
)
from fairway.netlink.exchange import AnswerLost, KernelRefused
from fairway.netlink.nftables import Request, body_of
from fairway.netlink.socket import NetlinkSocket

_ROOM = 4 << 20
"""Bytes of a dump that may wait while those before are read."""
_RETRY_S = 1.0


class FlowTable:
    """Of one network namespace: `namespace` as a file descriptor, None for the caller's. Not for several threads.

    Every method raises Unsupported for a kernel without connection tracking or a caller without CAP_NET_ADMIN, Retry
    where the kernel has no answer for now. Each blocks for as long as the kernel takes: a few microseconds a flow.
    """

    def __init__(self, *, namespace: int | None = None) -> None:
        self._socket = NetlinkSocket(namespace=namespace)
        self._socket.reserve(_ROOM)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> FlowTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flows(
        self, family: Family, protocol: int | None = None, *, ports: Collection[int] | None = None
    ) -> Iterator[Flow]:
        """The flows there are now, of one protocol (IPPROTO_*) or of all, sent to one of `ports` or to any.

        Flows that begin or end while they are read may or may not be among them.
        """
        for _, data in self._ask(dump_flows(family, protocol)):
            if family_of(data) is not family or (
                ports is not None and not may_be_sent_to(body_of(data), family, ports)
            ):
                continue
            flow = decode_flow(body_of(data), family)
            if (protocol is None or flow.protocol == protocol) and (
                ports is None or flow.original.destination_port in ports
            ):
                yield flow

    def delete(self, flow: Flow) -> bool:
        """Have the kernel forget exactly this flow; whether it still was there. ValueError as in `delete_flow`."""
        try:
            self._ask(delete_flow(flow))
        except KernelRefused as refused:
            if refused.number == errno.ENOENT:
                return False
            raise Retry(f"conntrack: {refused}", after_s=_RETRY_S) from refused
        return True

    def usage(self) -> Usage:
        """How many flows there are, and may be."""
        for _, data in self._ask(get_usage()):
            return decode_usage(body_of(data))
        raise AnswerLost("the kernel did not say how many flows it tracks")

    def _ask(self, request: Request) -> list[tuple[int, bytes]]:
        try:
            return self._socket.ask(request)
        except KernelRefused as refused:
            if refused.number == errno.EPERM:
                raise Unsupported(
                    "flows cannot be listed without CAP_NET_ADMIN in this network namespace: run as root"
                ) from refused
            if refused.number in (errno.EINVAL, errno.EOPNOTSUPP):
                raise Unsupported(
                    "this kernel does not tell of tracked flows (CONFIG_NF_CT_NETLINK, module nf_conntrack_netlink)"
                ) from refused
            if refused.number == errno.ENOENT:
                raise
            raise Retry(f"conntrack: {refused}", after_s=_RETRY_S) from refused
