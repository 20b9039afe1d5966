"""The address families and the addresses of the machine, read from the kernel."""

from __future__ import annotations

from pathlib import Path

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


def machine_families(*, proc: Path = Path("/proc")) -> tuple[Family, ...]:
    """IPv4, and IPv6 where the kernel has it and it is not switched off for all interfaces.

    kube-proxy asks for the same file (cmd/kube-proxy/app/server_linux.go, platformCheckSupported).
    """
    if not (proc / "net/if_inet6").exists():
        return (Family.IPV4,)
    try:
        disabled = (proc / "sys/net/ipv6/conf/all/disable_ipv6").read_text().strip() == "1"
    except OSError:
        disabled = False
    return (Family.IPV4,) if disabled else (Family.IPV4, Family.IPV6)
