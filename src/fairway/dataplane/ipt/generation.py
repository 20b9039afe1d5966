"""The number nf_tables counts its changes with: nft_net.base_seq, NFT_MSG_GETGEN of linux/netfilter/nf_tables.h.

Every transaction that changes anything in the network namespace, whoever sends it, adds one. So where the number is
what it was when the rules were known, they still are what they were, and nothing need be read.
"""

from __future__ import annotations

from fairway.dataplane.ipt import nfnetlink

_NFNL_SUBSYS_NFTABLES = 10
_NFT_MSG_GETGEN = 16
_NFTA_GEN_ID = 1


def read_generation() -> int | None:
    """The number as of now; None without the privilege, or on a kernel without nf_tables."""
    try:
        with nfnetlink.connect() as connection:
            answer = nfnetlink.ask(connection, _NFNL_SUBSYS_NFTABLES, _NFT_MSG_GETGEN)
    except OSError:
        return None
    for attributes in answer.messages:
        if _NFTA_GEN_ID in attributes:
            return int.from_bytes(attributes[_NFTA_GEN_ID], "big")
    return None
