"""What an agent in another mode left behind, and its removal once this mode's rules stand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.ruleset import protocol_family
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import Kind, body_of, decode_chain, dump
from fairway.netlink.socket import NetlinkSocket
from fairway.plan.options import Mode

_log = logging.getLogger(__name__)

_LEGACY_TABLES = {
    Family.IPV4: Path("/proc/net/ip_tables_names"),
    Family.IPV6: Path("/proc/net/ip6_tables_names"),
}
_NAT = "nat"


def remove_leftovers(mode: Mode, family: Family) -> None:
    """Remove the rules of the modes that `mode` is not, of one family; what cannot be removed is logged.

    The iptables programs are run only where the kernel says that there is something of theirs.
    """
    removals = _iptables_removals([family]) if mode is Mode.NFTABLES else [partial(_remove_nftables, [family])]
    for remove in removals:
        try:
            remove()
        except FairwayError as error:
            _log.warning("rules of another mode may be left: %s", error)


def remove_all() -> None:
    """Remove the rules of every mode and family. Raises Unsupported or Retry for the first that cannot be."""
    _remove_nftables(Family)
    for remove in _iptables_removals(Family):
        remove()


def _iptables_removals(families: Iterable[Family]) -> list[Callable[[], None]]:
    return [
        partial(_remove_iptables, variant, family)
        for family in families
        for variant, found in ((Variant.NFT, _has_nft_variant), (Variant.LEGACY, _has_legacy))
        if found(family)
    ]


def _remove_nftables(families: Iterable[Family]) -> None:
    backend = NftBackend()
    try:
        backend.cleanup(families)
    finally:
        backend.close()


def _remove_iptables(variant: Variant, family: Family) -> None:
    IptablesBackend(variant, family=family).cleanup()


def _has_nft_variant(family: Family) -> bool:
    """Whether nf_tables holds kube-proxy's chains, which iptables-nft keeps in `table ip nat`."""
    try:
        with NetlinkSocket() as socket:
            found = socket.ask(dump(Kind.GETCHAIN, protocol_family(family), _NAT))
    except (FairwayError, KernelRefused):
        return False
    chains = (decode_chain(body_of(body)) for _, body in found)
    return any((chain.table, chain.name) == (_NAT, names.KUBE_SERVICES) for chain in chains)


def _has_legacy(family: Family) -> bool:
    """Whether there are legacy tables at all: asking for their rules would make them."""
    try:
        return _NAT in _LEGACY_TABLES[family].read_text().split()
    except OSError:
        return False
