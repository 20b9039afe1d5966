"""The kernel's named counters that the `nfacct` match needs: whether it has them, and making ours.

A few netlink messages of nfnetlink, without a library: linux/netfilter/nfnetlink.h, nfnetlink_acct.h,
nf_tables_compat.h. Needs CAP_NET_ADMIN in the network namespace; without it, as without the kernel's support, the
answer is no, since rules do the same without counting.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable

_NETLINK_NETFILTER = 12
_NFNL_SUBSYS_ACCT = 7
_NFNL_SUBSYS_NFT_COMPAT = 11
_NFNL_MSG_ACCT_NEW = 0
_NFNL_MSG_ACCT_DEL = 3
_NFNL_MSG_COMPAT_GET = 0
_NFACCT_NAME = 1
_NFTA_COMPAT_NAME = 1
_NFTA_COMPAT_REV = 2
_NFTA_COMPAT_TYPE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_CREATE = 0x400
_NLMSG_ERROR = 2
_TYPE_MATCH = 0

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_GENERIC = struct.Struct("=BBH")
"""struct nfgenmsg: family, version, resource."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type; the value follows, padded to four bytes."""
_ERROR = struct.Struct("=i")


def ensure_counters(names: Iterable[str]) -> bool:
    """Make each counter that is not there; True where the kernel has them all and the match too."""
    try:
        with _connect() as connection:
            if _ask(connection, _NFNL_SUBSYS_NFT_COMPAT << 8 | _NFNL_MSG_COMPAT_GET, _match_query("nfacct")):
                return False
            made = [_ask(connection, _message_type(_NFNL_MSG_ACCT_NEW), _name(name), _NLM_F_CREATE) for name in names]
    except OSError:
        return False
    return all(error in (0, errno.EEXIST, errno.EBUSY) for error in made)


def remove_counters(names: Iterable[str]) -> None:
    """Remove those that are there and that no rule uses."""
    try:
        with _connect() as connection:
            for name in names:
                _ask(connection, _message_type(_NFNL_MSG_ACCT_DEL), _name(name))
    except OSError:
        return


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    connection.settimeout(5)
    connection.bind((0, 0))
    return connection


def _message_type(message: int) -> int:
    return _NFNL_SUBSYS_ACCT << 8 | message


def _ask(connection: socket.socket, message: int, attributes: bytes, flags: int = 0) -> int:
    """Send one message and wait for its acknowledgement: 0, or the errno."""
    body = _GENERIC.pack(socket.AF_INET, 0, 0) + attributes
    header = _HEADER.pack(_HEADER.size + len(body), message, _NLM_F_REQUEST | _NLM_F_ACK | flags, 1, 0)
    connection.send(header + body)
    while True:
        answer = connection.recv(65536)
        _, kind, _, _, _ = _HEADER.unpack_from(answer)
        if kind == _NLMSG_ERROR:
            (error,) = _ERROR.unpack_from(answer, _HEADER.size)
            return -int(error)


def _name(name: str) -> bytes:
    return _attribute(_NFACCT_NAME, name.encode() + b"\0")


def _match_query(name: str) -> bytes:
    """Asks whether xtables has a match of this name, revision 0; the kernel loads its module to find out."""
    return b"".join(
        (
            _attribute(_NFTA_COMPAT_NAME, name.encode() + b"\0"),
            _attribute(_NFTA_COMPAT_REV, struct.pack(">I", 0)),
            _attribute(_NFTA_COMPAT_TYPE, struct.pack(">I", _TYPE_MATCH)),
        )
    )


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(padding)
