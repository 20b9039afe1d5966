"""What this kernel has of nf_tables, asked by transactions that are never let in. Pure but for the socket it is given.

A transaction whose last message must fail is undone whole; what else of it failed is what the kernel has not.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.ruleset import protocol_family
from fairway.netlink.exchange import Failure, KernelRefused
from fairway.netlink.expressions import (
    Ct,
    CtKey,
    Dnat,
    Expression,
    FibType,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Reject,
)
from fairway.netlink.nftables import ChainInfo, Hook, Request, delete_table, new_chain, new_rule, new_set, new_table

Commit = Callable[[Sequence[Request]], object]

_PROBE, _NOBODY = "fairway-probe", "fairway-no-such-table"
"""Names of tables that are never there: a transaction with either in it does not come in."""


def dry_run(commit: Commit, requests: Sequence[Request], family: int) -> list[Failure]:
    """What the kernel would refuse of a transaction; nothing is changed.

    Graphs of chains are checked only when a transaction is let in, so of those nothing is said.
    """
    try:
        commit([*requests, delete_table(family, _NOBODY)])
    except KernelRefused as refused:
        return [
            failure
            for failure in refused.failures
            if not (failure.index == len(requests) and failure.number == errno.ENOENT)
        ]
    raise AssertionError("a table of a name nobody uses was there")


def lacking(commit: Commit, family: Family) -> list[str]:
    """What the rules need and this kernel has not, each with its configuration option."""
    protocol = protocol_family(family)
    found = []
    for words, option, hook, expressions in _needs(family):
        chain = ChainInfo(_PROBE, "probe", int(hook), 0, kind="nat")
        requests = [new_table(protocol, _PROBE), new_chain(protocol, chain)]
        requests.append(new_rule(protocol, _PROBE, "probe", expressions, b""))
        if dry_run(commit, requests, protocol):
            found.append(f"{words} ({option})")
    if not found:
        sets = [replace(spec.info, table=_PROBE) for spec in layout.fixed_sets(family).values()]
        requests = [new_set(protocol, info, number) for number, info in enumerate(sets, 1)]
        if dry_run(commit, [new_table(protocol, _PROBE), *requests], protocol):
            found.append("maps of concatenations (CONFIG_NF_TABLES of Linux 5.13 or newer)")
    return found


def _needs(family: Family) -> list[tuple[str, str, Hook, tuple[Expression, ...]]]:
    version = "IPV4" if family is Family.IPV4 else "IPV6"
    priority = (Meta(MetaKey.PRIORITY), MetaSet(MetaKey.PRIORITY))
    return [
        ("nat chains", "CONFIG_NF_NAT, CONFIG_NFT_NAT", Hook.PREROUTING, priority),
        ("random numbers", "CONFIG_NFT_NUMGEN", Hook.PREROUTING, (Numgen(2),)),
        ("routing look-ups", f"CONFIG_NFT_FIB_{version}", Hook.PREROUTING, (FibType(source=True),)),
        ("connection tracking", "CONFIG_NFT_CT", Hook.PREROUTING, (Ct(CtKey.STATUS),)),
        ("rejections", f"CONFIG_NFT_REJECT_{version}", Hook.PREROUTING, (Reject(3),)),
        ("masquerading", "CONFIG_NFT_MASQ", Hook.POSTROUTING, (Masquerade(),)),
        (
            "destination translation",
            "CONFIG_NFT_NAT",
            Hook.PREROUTING,
            (
                Payload(PayloadBase.NETWORK, 0, family.bits // 8),
                Payload(PayloadBase.TRANSPORT, 2, 2, dreg=2),
                Dnat(protocol_family(family), 1, 2),
            ),
        ),
    ]
