"""Run on a node, `python -m fairway.cluster.bench.tamper table|element`: harm the agent's table and time its repair.

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
from fairway.netlink.elements import delete_elements, dump_elements, element_list
from fairway.netlink.nftables import (
    NFNLGRP_NFTABLES,
    NFPROTO_IPV4,
    Kind,
    Request,
    body_of,
    delete_table,
    kind_of,
)
from fairway.netlink.socket import NetlinkSocket

LIMIT_S = 5.0
"""Only an agent that does not repair takes as long."""


def main() -> None:
    try:
        print(f"{seconds_to_repair(sys.argv[1]):.6f}")
    except FairwayError as error:
        sys.exit(str(error))


def seconds_to_repair(harm: str) -> float:
    """Do it, and wait for the agent. harm: of HARMS. Raises Refused where the table is not as it should be."""
    with NetlinkSocket() as hearing, NetlinkSocket() as stranger:
        requests = HARMS[harm](stranger)
        hearing.join(NFNLGRP_NFTABLES)
        stranger.commit(requests)
        began = time.perf_counter()
        while time.perf_counter() - began < LIMIT_S:
            select.select([hearing], [], [], LIMIT_S)
            told = [each for each in hearing.notifications() if kind_of(each.kind) is Kind.NEWGEN]
            if any(each.port != stranger.port for each in told):
                return time.perf_counter() - began
    raise Refused(f"nobody repaired the {harm} within {LIMIT_S:g} s")


def _table(_: NetlinkSocket) -> list[Request]:
    return [delete_table(NFPROTO_IPV4, TABLE)]


def _element(asking: NetlinkSocket) -> list[Request]:
    """The first door of the map of node ports."""
    shape = layout.fixed_sets(Family.IPV4)[layout.NODEPORTS].shape
    for _, body in asking.ask(dump_elements(NFPROTO_IPV4, TABLE, layout.NODEPORTS)):
        for key in shape.unpack(element_list(body_of(body))[2]):
            return list(delete_elements(NFPROTO_IPV4, TABLE, layout.NODEPORTS, shape, {key: None}))
    raise Refused("there is no node port to delete")


HARMS: Mapping[str, Callable[[NetlinkSocket], list[Request]]] = {"table": _table, "element": _element}


if __name__ == "__main__":
    main()
