"""A Delta as messages to the kernel. Pure.

All of it is one transaction, in an order that is good even where small buffers make it several: what is referred to
comes before what refers to it, a door is opened after its backends are there, and closed before they go. Only source
ranges that change go before others come, so that meanwhile fewer may pass, never more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.dataplane.nft import layout
from fairway.dataplane.nft.diff import Delta
from fairway.dataplane.nft.ruleset import TABLE, Chain, SetSpec
from fairway.netlink.elements import Value, delete_elements, new_elements
from fairway.netlink.nftables import (
    ChainInfo,
    Request,
    delete_chain,
    delete_set,
    delete_table,
    flush_chain,
    new_chain,
    new_rule,
    new_set,
    new_table,
)
from fairway.netlink.userdata import comment_record

_DOORS = frozenset(
    (
        layout.SERVICES,
        layout.NODEPORTS,
        layout.SHORT_CUTS,
        layout.NODEPORT_SHORT_CUTS,
        layout.STICKY,
        layout.NODEPORT_STICKY,
    )
)


def encode(delta: Delta, family: int, specs: Mapping[str, SetSpec]) -> list[Request]:
    """The transaction.

    family: NFPROTO. specs: of all sets that elements change in. `encode_removals` comes after it.
    """
    return list(_encode(delta, family, specs))


def encode_removals(delta: Delta, family: int) -> list[Request]:
    """A transaction of its own, once `encode`'s is in: before Linux 6.2 what is referred to by what one transaction
    deletes cannot be deleted by the same one."""
    chains = [delete_chain(family, TABLE, name) for name in delta.gone_chains]
    return chains + [delete_set(family, TABLE, name) for name in delta.gone_sets]


def _encode(delta: Delta, family: int, specs: Mapping[str, SetSpec]) -> Iterator[Request]:
    if delta.start_over:
        yield delete_table(family, TABLE)
    if delta.new_table:
        yield new_table(family, TABLE, comment_record(layout.COMMENT))
    for identifier, spec in enumerate(delta.new_sets, 1):
        yield new_set(family, spec.info, identifier)
    for chain in delta.new_chains:
        yield new_chain(family, _chain_info(chain))
    for chain in delta.changed_chains:
        yield flush_chain(family, TABLE, chain.name)
    for chain in (*delta.new_chains, *delta.changed_chains):
        for rule in chain.rules:
            userdata = comment_record(rule.comment) if rule.comment else b""
            yield new_rule(family, TABLE, chain.name, rule.expressions, userdata)
    yield from _encode_elements(delta, family, specs)
    for name in delta.gone_chains:
        yield flush_chain(family, TABLE, name)


def _encode_elements(delta: Delta, family: int, specs: Mapping[str, SetSpec]) -> Iterator[Request]:
    gone: list[tuple[SetSpec, dict[bytes, Value]]] = []
    names = sorted({*delta.add, *delta.remove}, key=lambda name: (name in _DOORS, name))
    for name in names:
        spec = specs[name]
        add, remove = delta.add.get(name, {}), delta.remove.get(name, {})
        if name in _DOORS or (spec.ranges and add):
            # The kernel refuses a range that overlaps one that goes only later.
            replaced = remove
        else:
            replaced = {key: value for key, value in remove.items() if key in add}
            gone.append((spec, {key: value for key, value in remove.items() if key not in add}))
        yield from delete_elements(family, TABLE, name, spec.shape, replaced)
        yield from new_elements(family, TABLE, name, spec.shape, add)
    for spec, elements in gone:
        yield from delete_elements(family, TABLE, spec.name, spec.shape, elements)


def _chain_info(chain: Chain) -> ChainInfo:
    userdata = comment_record(chain.comment) if chain.comment else b""
    if chain.hook is None:
        return ChainInfo(TABLE, chain.name, userdata=userdata)
    return ChainInfo(
        TABLE, chain.name, int(chain.hook.hook), chain.hook.priority, policy=1, kind="nat", userdata=userdata
    )
