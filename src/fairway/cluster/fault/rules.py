"""Tables of nf_tables that drop a share of packets. Pure.

Each fault has a table of its own, which nobody else writes and whose deletion is the whole undoing. That of a port is
in the bridge's family, outside of every host: no rule that a node has is met, moved or counted differently by it.
"""

from __future__ import annotations

import sys

from fairway.netlink.elements import Shape, new_elements
from fairway.netlink.expressions import (
    DROP,
    Cmp,
    CmpOp,
    Expression,
    ImmediateVerdict,
    Lookup,
    Meta,
    MetaKey,
    Numgen,
)
from fairway.netlink.nftables import (
    ChainInfo,
    Hook,
    Request,
    SetInfo,
    delete_table,
    new_chain,
    new_rule,
    new_set,
    new_table,
)

TABLE = "fairway-fault"
"""How the names of all these tables begin."""

NFPROTO_INET, NFPROTO_BRIDGE = 1, 7
"""linux/netfilter.h"""

_FIRST, _LAST = -2147483648, 2147483647
"""NF_IP_PRI_FIRST, NF_IP_PRI_LAST: a packet is lost before anybody has seen it, or after everybody has."""

_IFNAMSIZ = 16
_SET = "lost"
_INTEGER = 4
"""nft's number of the type integer, for those who list the set."""
_WHOLE = 100


def lossy(family: int, number: int, link: str, percent: int) -> list[Request]:
    """The transaction after which packets that come or go by a link are dropped, each with a chance of `percent`.

    family: NFPROTO_BRIDGE for a port of a bridge, NFPROTO_INET for a link that ends here. number: of the fault.
    """
    table = table_name(number)
    requests = [new_table(family, table)]
    chance: tuple[Expression, ...] = ()
    if percent < _WHOLE:
        # A draw below `percent`: the kernel compares numbers of many bytes only in network order, and looks up any.
        lost = {draw.to_bytes(4, sys.byteorder): None for draw in range(percent)}
        info = SetInfo(table, _SET, 0, _INTEGER, 4)
        requests += [new_set(family, info, 1), *new_elements(family, table, _SET, Shape(4), dict(lost))]
        chance = (Numgen(_WHOLE), Lookup(_SET))
    for name, hook, key, priority in (
        ("coming", Hook.PREROUTING, MetaKey.IIFNAME, _FIRST),
        ("going", Hook.POSTROUTING, MetaKey.OIFNAME, _LAST),
    ):
        by_link = (Meta(key), Cmp(CmpOp.EQ, link.encode().ljust(_IFNAMSIZ, b"\0")))
        requests += [
            new_chain(family, ChainInfo(table, name, int(hook), priority, kind="filter")),
            new_rule(family, table, name, (*by_link, *chance, ImmediateVerdict(DROP)), b""),
        ]
    return requests


def mended(family: int, number: int) -> Request:
    """Deletes what `lossy` made."""
    return delete_table(family, table_name(number))


def table_name(number: int) -> str:
    return f"{TABLE}-{number}"
