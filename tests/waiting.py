"""Wait for a condition, not for time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

LIMIT_S = 30.0
"""Only a broken program takes as long; it then fails here instead of hanging."""


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds, looking again at every turn of the event loop."""
    async with asyncio.timeout(LIMIT_S):
        async for _ in _turns():
            if condition():
                return


async def _turns() -> AsyncIterator[None]:
    while True:
        yield
        await asyncio.sleep(0)
