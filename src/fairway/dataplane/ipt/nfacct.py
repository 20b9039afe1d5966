"""The kernel's named counters that the `nfacct` match needs: whether it has them, and making ours.

Facts: linux/netfilter/nfnetlink_acct.h, nf_tables_compat.h. Without the privilege, as without the kernel's support, the
answer is no, since rules do the same without counting.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from fairway.base.errors import FairwayError
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import GENERIC, NFPROTO_IPV4, Request
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, text, u32

_NFNL_SUBSYS_ACCT = 7
_NFNL_SUBSYS_NFT_COMPAT = 11
_NFNL_MSG_ACCT_NEW = 0
_NFNL_MSG_ACCT_DEL = 3
_NFNL_MSG_COMPAT_GET = 0
_NFACCT_NAME = 1
_NFTA_COMPAT_NAME = 1
_NFTA_COMPAT_REV = 2
_NFTA_COMPAT_TYPE = 3
_TYPE_MATCH = 0


def ensure_counters(names: Iterable[str]) -> bool:
    """Make each counter that is not there; True where the kernel has them all and the match too."""
    try:
        with NetlinkSocket() as socket:
            if _ask(socket, _match_query("nfacct")):
                return False
            errors = [_ask(socket, _counter(_NFNL_MSG_ACCT_NEW, name, NLM_F_CREATE)) for name in names]
    except FairwayError:
        return False
    return all(error in (0, errno.EEXIST, errno.EBUSY) for error in errors)


def remove_counters(names: Iterable[str]) -> None:
    """Remove those that are there and that no rule uses."""
    try:
        with NetlinkSocket() as socket:
            for name in names:
                _ask(socket, _counter(_NFNL_MSG_ACCT_DEL, name))
    except FairwayError:
        return


def _ask(socket: NetlinkSocket, request: Request) -> int:
    """The errno the kernel answers with, 0 for none."""
    try:
        socket.ask(request)
    except KernelRefused as refused:
        return refused.number
    return 0


def _request(subsystem: int, message: int, body: bytes, flags: int = 0) -> Request:
    kind = subsystem << 8 | message
    return Request(kind, NLM_F_REQUEST | NLM_F_ACK | flags, GENERIC.pack(NFPROTO_IPV4, 0, 0) + body)


def _counter(message: int, name: str, flags: int = 0) -> Request:
    return _request(_NFNL_SUBSYS_ACCT, message, text(_NFACCT_NAME, name), flags)


def _match_query(name: str) -> Request:
    """Asks whether xtables has a match of this name, revision 0; the kernel loads its module to find out."""
    body = text(_NFTA_COMPAT_NAME, name) + u32(_NFTA_COMPAT_REV, 0) + u32(_NFTA_COMPAT_TYPE, _TYPE_MATCH)
    return _request(_NFNL_SUBSYS_NFT_COMPAT, _NFNL_MSG_COMPAT_GET, body)
