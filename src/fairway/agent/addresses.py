"""The addresses of the node's interfaces, read from the kernel."""

from __future__ import annotations

from pyroute2.iproute.linux import IPRoute

from fairway.base.addresses import Family, IPAddress, parse_address

_AF = {Family.IPV4: 2, Family.IPV6: 10}
"""AF_INET and AF_INET6 (linux/socket.h)."""


def local_addresses(family: Family) -> tuple[IPAddress, ...]:
    """All addresses of the calling process's network namespace, sorted; blocks for one netlink dump."""
    with IPRoute() as netlink:  # type: ignore[no-untyped-call]  # pyroute2 has no types here
        found = {
            parse_address(local)
            for message in netlink.get_addr(family=_AF[family])
            if (local := message.get("local") or message.get("address"))
        }
    return tuple(sorted(found, key=int))
