"""Run on a node, `python -m fairway.cluster.bench.tamper table|element PORT`: harm the table and time its repair.

The element is the door of a node port, which somebody should be calling.

Prints a number of seconds: from the return of the commit that did the harm to the kernel's word that somebody else, the
agent, has committed. Ends with status 1 where that does not come.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Mapping

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError, Refused
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.ruleset import TABLE
from fairway.flow.packet import Protocol
from fairway.netlink.elements import delete_elements
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import (
    NFNLGRP_NFTABLES,
    NFPROTO_IPV4,
    Kind,
    Request,
    delete_table,
    kind_of,
)
from fairway.netlink.socket import NetlinkSocket

LIMIT_S = 5.0
"""Only an agent that does not repair takes as long."""


def main() -> None:
    try:
        print(f"{seconds_to_repair(sys.argv[1], int(sys.argv[2])):.6f}")
    except FairwayError as error:
        sys.exit(str(error))


def seconds_to_repair(harm: str, port: int) -> float:
    """Do it, and wait for the agent. harm: of HARMS. Raises Refused where there is nothing to harm, or no repair."""
    with NetlinkSocket() as hearing, NetlinkSocket() as stranger:
        hearing.join(NFNLGRP_NFTABLES)
        try:
            stranger.commit(HARMS[harm](port))
        except KernelRefused as refused:
            raise Refused(f"the {harm} cannot be deleted: {refused}") from refused
        began = time.perf_counter()
        while time.perf_counter() - began < LIMIT_S:
            select.select([hearing], [], [], LIMIT_S)
            told = [each for each in hearing.notifications() if kind_of(each.kind) is Kind.NEWGEN]
            if any(each.port != stranger.port for each in told):
                return time.perf_counter() - began
    raise Refused(f"nobody repaired the {harm} within {LIMIT_S:g} s")


def _table(_: int) -> list[Request]:
    return [delete_table(NFPROTO_IPV4, TABLE)]


def _element(port: int) -> list[Request]:
    spec = layout.fixed_sets(Family.IPV4)[layout.NODEPORTS]
    door = {layout.port_key(Protocol.TCP, port): None}
    return list(delete_elements(NFPROTO_IPV4, TABLE, spec.name, spec.shape, door))


HARMS: Mapping[str, Callable[[int], list[Request]]] = {"table": _table, "element": _element}


if __name__ == "__main__":
    main()
