"""What an agent in another mode left behind, and its removal once this mode's rules stand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from fairway.base.errors import FairwayError
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.dataplane.nft.backend import NftBackend
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import NFPROTO_IPV4, Kind, body_of, decode_chain, dump
from fairway.netlink.socket import NetlinkSocket
from fairway.plan.options import Mode

_log = logging.getLogger(__name__)

_LEGACY_TABLES = Path("/proc/net/ip_tables_names")
_NAT = "nat"


def remove_leftovers(mode: Mode) -> None:
    """Remove the rules of the modes that `mode` is not; what cannot be removed is logged.

    The iptables programs are run only where the kernel says that there is something of theirs.
    """
    removals: list[Callable[[], None]] = [_remove_nftables]
    if mode is Mode.NFTABLES:
        removals = [remove for found, remove in _IPTABLES if found()]
    for remove in removals:
        try:
            remove()
        except FairwayError as error:
            _log.warning("rules of another mode may be left: %s", error)


def remove_all() -> None:
    """Remove the rules of every mode. Raises Unsupported or Retry for the first that cannot be."""
    _remove_nftables()
    for found, remove in _IPTABLES:
        if found():
            remove()


def _remove_nftables() -> None:
    backend = NftBackend()
    try:
        backend.cleanup()
    finally:
        backend.close()


def _has_nft_variant() -> bool:
    """Whether nf_tables holds kube-proxy's chains, which iptables-nft keeps in `table ip nat`."""
    try:
        with NetlinkSocket() as socket:
            found = socket.ask(dump(Kind.GETCHAIN, NFPROTO_IPV4, _NAT))
    except (FairwayError, KernelRefused):
        return False
    chains = (decode_chain(body_of(body)) for _, body in found)
    return any((chain.table, chain.name) == (_NAT, names.KUBE_SERVICES) for chain in chains)


def _has_legacy() -> bool:
    """Whether there are legacy tables at all: asking for their rules would make them."""
    try:
        return _NAT in _LEGACY_TABLES.read_text().split()
    except OSError:
        return False


def _remove_nft_variant() -> None:
    IptablesBackend(Variant.NFT).cleanup()


def _remove_legacy() -> None:
    IptablesBackend(Variant.LEGACY).cleanup()


_IPTABLES = ((_has_nft_variant, _remove_nft_variant), (_has_legacy, _remove_legacy))
