"""Waiting for what was asked of the API to be in every node's kernel. Only what is seen there ends a wait."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from fairway.cluster.walk.language import Unseen
from fairway.cluster.walk.stage import Stage

SETTLES_TRIES, SETTLES_STEP_S = 50, 0.1
"""A change is given this often, this far apart, to reach every node before it is judged."""


async def rules_agree(stage: Stage, nodes: Sequence[str], pattern: str, *, present: bool) -> None:
    """Wait until the rules of all nodes do or do not match a pattern; raises Unseen if that does not come."""
    held = await rules_with(stage, nodes, pattern, until=present)
    late = [node for node, holds in held.items() if holds is not present]
    if late and present:
        raise Unseen("the rules of {nodes} lack {pattern!r}", nodes=", ".join(late), pattern=pattern)
    if late:
        raise Unseen("the rules of {nodes} still hold {pattern!r}", nodes=", ".join(late), pattern=pattern)


async def rules_with(stage: Stage, nodes: Sequence[str], pattern: str, *, until: bool) -> dict[str, bool]:
    """Which nodes' rules match a pattern, once all or none do as `until` says, or after the last try."""
    held: dict[str, bool] = {}
    for _ in range(SETTLES_TRIES):
        listings = await asyncio.gather(*(stage.rules(node, quiet=True) for node in nodes))
        held = {node: bool(re.search(pattern, listing)) for node, listing in zip(nodes, listings, strict=True)}
        if set(held.values()) == {until}:
            break
        await asyncio.sleep(SETTLES_STEP_S)
    return held
