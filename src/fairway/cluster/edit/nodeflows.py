"""Run on a node (`python -m fairway.cluster.edit.nodeflows`): prints its living connections whose backend was chosen.

As JSON, a list of LiveFlow.
"""

from __future__ import annotations

import sys

import msgspec

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError
from fairway.cluster.edit.flows import LiveFlow, live_flow
from fairway.netlink.flows import FlowTable


def living() -> list[LiveFlow]:
    """Of the caller's network namespace. Raises Unsupported and Retry as FlowTable does."""
    with FlowTable() as table:
        return [found for family in Family for flow in table.flows(family) if (found := live_flow(flow)) is not None]


def main() -> int:
    try:
        found = living()
    except FairwayError as error:
        print(f"fairway: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
