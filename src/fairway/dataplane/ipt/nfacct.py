"""The kernel's named counters that the `nfacct` match needs: whether it has them, and making ours.

Facts: linux/netfilter/nfnetlink_acct.h, nf_tables_compat.h. Without the privilege, as without the kernel's support, the
answer is no, since rules do the same without counting.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

from fairway.dataplane.ipt.nfnetlink import NLM_F_CREATE, ask, attribute, connect

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
        with connect() as connection:
            if ask(connection, _NFNL_SUBSYS_NFT_COMPAT, _NFNL_MSG_COMPAT_GET, _match_query("nfacct")).error:
                return False
            errors = [
                ask(connection, _NFNL_SUBSYS_ACCT, _NFNL_MSG_ACCT_NEW, _name(name), NLM_F_CREATE).error
                for name in names
            ]
    except OSError:
        return False
    return all(error in (0, errno.EEXIST, errno.EBUSY) for error in errors)


def remove_counters(names: Iterable[str]) -> None:
    """Remove those that are there and that no rule uses."""
    try:
        with connect() as connection:
            for name in names:
                ask(connection, _NFNL_SUBSYS_ACCT, _NFNL_MSG_ACCT_DEL, _name(name))
    except OSError:
        return


def _name(name: str) -> bytes:
    return attribute(_NFACCT_NAME, name.encode() + b"\0")


def _match_query(name: str) -> bytes:
    """Asks whether xtables has a match of this name, revision 0; the kernel loads its module to find out."""
    return b"".join(
        (
            attribute(_NFTA_COMPAT_NAME, name.encode() + b"\0"),
            attribute(_NFTA_COMPAT_REV, struct.pack(">I", 0)),
            attribute(_NFTA_COMPAT_TYPE, struct.pack(">I", _TYPE_MATCH)),
        )
    )
