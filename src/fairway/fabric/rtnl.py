"""Links, addresses and routes: rtnetlink requests, encoded by pyroute2, sent many in one message.

The kernel handles rtnetlink requests while they are being sent, so all answers are there when `send` returns: there is
nothing to wait for, and no event loop to keep.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from fairway.base.addresses import IPAddress, IPInterface, IPNetwork

_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTM_NEWNEIGH = 28
_RT_TABLE_MAIN, _RT_TABLE_LOCAL = 254, 255
_RTPROT_STATIC = 4
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_NUD_PERMANENT = 0x80
_FOREVER = 0xFFFFFFFF
_IFF_UP = 1
"""linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h, linux/if.h"""

_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR = 2
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
"""linux/netlink.h, linux/socket.h"""

_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=iIHHII")
"""nlmsghdr; nlmsgerr with the header of the request it answers."""

_ATTRIBUTE = struct.Struct("=HH")
_CHUNK = 1 << 16
_BATCH = 128
"""Requests a message: the answers, a kilobyte of kernel memory each, are to fit into the socket's buffer."""

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class RtnlError(Exception):
    """The kernel refused a request; number: errno; position: which request of the exchange, from 0."""

    def __init__(self, number: int, message: str, *, position: int) -> None:
        super().__init__(f"{os.strerror(number)}: {message}" if message else os.strerror(number))
        self.number = number
        self.position = position


@dataclass(frozen=True, slots=True)
class Request:
    """One encoded request without sequence number."""

    data: bytes


def new_bridge(name: str, *, mac: str) -> Request:
    """Make a bridge that runs no spanning tree and floods multicast."""
    options = {"attrs": [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]}
    return _create_link(name, "bridge", options, attributes=[("IFLA_ADDRESS", mac)])


def new_veth(
    name: str,
    *,
    peer: str,
    peer_pid: int | None = None,
    peer_namespace: int | None = None,
    mac: str | None = None,
    peer_mac: str | None = None,
    master: int | None = None,
    up: bool = False,
) -> Request:
    """Make a pair of links, the peer in the network namespace of a process or of a descriptor.

    peer_pid, peer_namespace: None for the same namespace. mac, peer_mac: None for ones that the kernel draws. master:
    index of the bridge `name` becomes a port of.
    """
    far: list[tuple[str, Any]] = [("IFLA_IFNAME", peer)]
    if peer_mac is not None:
        far.append(("IFLA_ADDRESS", peer_mac))
    if peer_pid is not None:
        far.append(("IFLA_NET_NS_PID", peer_pid))
    if peer_namespace is not None:
        far.append(("IFLA_NET_NS_FD", peer_namespace))
    # The peer cannot be made up from the start: its driver wants the pair complete for that (veth_open, ENOTCONN).
    pair = {"attrs": [("VETH_INFO_PEER", {"attrs": far})]}
    near: list[tuple[str, Any]] = [] if master is None else [("IFLA_MASTER", master)]
    if mac is not None:
        near.append(("IFLA_ADDRESS", mac))
    return _create_link(name, "veth", pair, attributes=near, up=up)


def delete_link(name: str) -> Request:
    """Delete a link by name."""
    return _encode(ifinfmsg, _RTM_DELLINK, 0, attrs=[("IFLA_IFNAME", name)])


def set_link(name: str, *, up: bool) -> Request:
    """Take a link up or down."""
    flags = _IFF_UP if up else 0
    return _encode(ifinfmsg, _RTM_NEWLINK, 0, flags=flags, change=_IFF_UP, attrs=[("IFLA_IFNAME", name)])


def set_master(name: str, master: int) -> Request:
    """Make a link a port of the bridge with this index, or of none for 0."""
    return _encode(ifinfmsg, _RTM_NEWLINK, 0, attrs=[("IFLA_IFNAME", name), ("IFLA_MASTER", master)])


def address(
    link: int, value: IPInterface, *, present: bool, prefix_route: bool = True, preferred: bool = True
) -> Request:
    """Give the link of that index an address, or take it away. prefix_route: let the kernel add its network's route.

    An IPv6 address is there at once: nobody else has it, so it is not asked for first (RFC 4862, section 5.4).
    preferred: of IPv6, whether the kernel may choose it for what the machine sends of its own accord (section 5.5.4).
    """
    attributes: list[tuple[str, Any]] = [("IFA_LOCAL", str(value.ip)), ("IFA_ADDRESS", str(value.ip))]
    flags = 0 if prefix_route else _IFA_F_NOPREFIXROUTE
    if value.version == 6:
        flags |= _IFA_F_NODAD
        if not preferred:
            attributes.append(("IFA_CACHEINFO", {"ifa_preferred": 0, "ifa_valid": _FOREVER}))
    elif value.network.prefixlen < 31:
        attributes.append(("IFA_BROADCAST", str(value.network.broadcast_address)))
    if flags:
        attributes.append(("IFA_FLAGS", flags))
    return _encode(
        ifaddrmsg,
        _RTM_NEWADDR if present else _RTM_DELADDR,
        _creating(present),
        family=_FAMILIES[value.version],
        prefixlen=value.network.prefixlen,
        index=link,
        attrs=attributes,
    )


def route(
    destination: IPNetwork,
    *,
    via: IPAddress | None = None,
    link: int | None = None,
    source: IPAddress | None = None,
    present: bool = True,
) -> Request:
    """A route of the main table through a neighbour, or straight to a link; or its removal."""
    attributes: list[tuple[str, Any]] = []
    if destination.prefixlen:
        attributes.append(("RTA_DST", str(destination.network_address)))
    if via is not None:
        attributes.append(("RTA_GATEWAY", str(via)))
    if link is not None:
        attributes.append(("RTA_OIF", link))
    if source is not None:
        attributes.append(("RTA_PREFSRC", str(source)))
    return _encode(
        rtmsg,
        _RTM_NEWROUTE if present else _RTM_DELROUTE,
        _creating(present),
        family=_FAMILIES[destination.version],
        dst_len=destination.prefixlen,
        table=_RT_TABLE_MAIN,
        proto=_RTPROT_STATIC,
        scope=_RT_SCOPE_LINK if via is None else _RT_SCOPE_UNIVERSE,
        type=_RTN_UNICAST,
        attrs=attributes,
    )


def local_route(link: int, host: IPAddress) -> Request:
    """Let packets to an address of the link be taken in from now on.

    The kernel makes such a route of its own for each address, but of IPv6 when it finds the time, and until then sends
    them elsewhere (addrconf_dad_start in net/ipv6/addrconf.c).
    """
    return _encode(
        rtmsg,
        _RTM_NEWROUTE,
        _NLM_F_CREATE,  # several links may have one address
        family=_FAMILIES[host.version],
        dst_len=host.max_prefixlen,
        table=_RT_TABLE_LOCAL,
        proto=_RTPROT_STATIC,
        scope=_RT_SCOPE_UNIVERSE,
        type=_RTN_LOCAL,
        attrs=[("RTA_DST", str(host)), ("RTA_OIF", link)],
    )


def neighbour(link: int, host: IPAddress, mac: str) -> Request:
    """Let the link know for good where a host beside it is, so that nobody has to be asked."""
    return _encode(
        ndmsg,
        _RTM_NEWNEIGH,
        _creating(True),
        family=_FAMILIES[host.version],
        ifindex=link,
        state=_NUD_PERMANENT,
        attrs=[("NDA_DST", str(host)), ("NDA_LLADDR", mac)],
    )


class RouteSocket:
    """A rtnetlink socket of the network namespace it was made in."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def exchange(self, requests: Sequence[Request], *, ignore: Sequence[int] = ()) -> None:
        """Send requests in as few messages as there is room for their answers, in order.

        A failed one does not keep the kernel from the next. ignore: errnos that mean that it was done before. Raises
        RtnlError for the first that fails otherwise.
        """
        failures: list[RtnlError] = []
        for first in range(0, len(requests), _BATCH):
            failures += self._exchange_batch(requests[first : first + _BATCH], first, ignore)
        if failures:
            raise failures[0]

    def _exchange_batch(self, requests: Sequence[Request], first: int, ignore: Sequence[int]) -> list[RtnlError]:
        """What of these failed, in order; first: the position of the first of them in the exchange."""
        before = self._sequence + 1
        self._sequence += len(requests)
        numbered = (_numbered(request.data, before + position) for position, request in enumerate(requests))
        self._socket.send(b"".join(numbered))
        failures: list[RtnlError] = []
        missing = len(requests)
        while missing:
            for sequence, number, message in _acknowledgements(self._socket.recv(_CHUNK)):
                missing -= 1
                if number and number not in ignore:
                    failures.append(RtnlError(number, message, position=first + sequence - before))
        return sorted(failures, key=lambda failure: failure.position)


def _create_link(
    name: str, kind: str, options: dict[str, Any], *, attributes: list[tuple[str, Any]], up: bool = False
) -> Request:
    info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", options)]}
    flags = _IFF_UP if up else 0
    attrs = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", info), *attributes]
    return _encode(ifinfmsg, _RTM_NEWLINK, _creating(True), flags=flags, change=flags, attrs=attrs)


def _creating(present: bool) -> int:
    return _NLM_F_CREATE | _NLM_F_EXCL if present else 0


def _encode(kind: Any, request: int, control: int, **fields: Any) -> Request:
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["header"]["type"] = request
    message["header"]["flags"] = _NLM_F_REQUEST | _NLM_F_ACK | control
    message.encode()
    return Request(bytes(message.data))


def _numbered(data: bytes, sequence: int) -> bytes:
    length, kind, flags, _, port = _HEADER.unpack_from(data)
    padding = bytes(-len(data) % 4)
    return _HEADER.pack(length, kind, flags, sequence, port) + data[_HEADER.size :] + padding


def _acknowledgements(data: bytes) -> list[tuple[int, int, str]]:
    """Of each NLMSG_ERROR: sequence number, errno (0 for success), the kernel's own words if it had any."""
    found = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if kind == _NLMSG_ERROR:
            number, *_ = _ERROR.unpack_from(data, at + _HEADER.size)
            # NETLINK_CAP_ACK: only the header of the request comes back, so the attributes follow it.
            rest = data[at + _HEADER.size + _ERROR.size : at + length] if flags & _NLM_F_ACK_TLVS else b""
            found.append((sequence, -number, _message(rest)))
        at += (length + 3) & ~3
    return found


def _message(attributes: bytes) -> str:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _NLMSGERR_ATTR_MSG:
            return attributes[at + _ATTRIBUTE.size : at + length].rstrip(b"\0").decode(errors="replace")
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return ""
