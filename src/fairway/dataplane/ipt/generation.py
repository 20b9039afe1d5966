"""The number nf_tables counts its changes with, as of now.

Every transaction that changes anything in the network namespace, whoever sends it, adds one. So where the number is
what it was when the rules were known, they still are what they were, and nothing need be read.
"""

from __future__ import annotations

from fairway.base.errors import FairwayError
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.socket import NetlinkSocket


def read_generation() -> int | None:
    """The number; None without the privilege, or on a kernel without nf_tables."""
    try:
        with NetlinkSocket() as socket:
            return socket.generation().number
    except (FairwayError, KernelRefused):
        return None
