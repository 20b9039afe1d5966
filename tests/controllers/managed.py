"""The served API with all controllers at work on it, and a way to wait for what they do. No node, so no pod runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fairway.controllers import ManagerConfig, run_async
from tests.apiserver.serving import LIMIT_S, Served, served


@asynccontextmanager
async def managed(directory: Path) -> AsyncIterator[Served]:
    async with served(directory) as api, asyncio.TaskGroup() as group:
        work = group.create_task(run_async(ManagerConfig(kubeconfig=api.kubeconfig, seed=1)))
        yield api
        work.cancel()


async def until(api: Served, path: str, holds: Callable[[dict[str, dict[str, Any]]], object]) -> dict[str, Any]:
    """Watch a collection until this holds of its objects by name, and return them; fails after LIMIT_S."""
    found: dict[str, dict[str, Any]] = {}
    async with asyncio.timeout(LIMIT_S):
        code, listed = await api.call("GET", path)
        assert code == 200, listed
        found = {one["metadata"]["name"]: one for one in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        async with api.admin.get(f"{api.url}{path}?watch=true&resourceVersion={version}") as watch:
            while not holds(found):
                event = json.loads(await watch.content.readline())
                name = event["object"]["metadata"]["name"]
                if event["type"] == "DELETED":
                    found.pop(name, None)
                else:
                    found[name] = event["object"]
    return found
