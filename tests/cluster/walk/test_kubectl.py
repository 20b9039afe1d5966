"""kubectl is run to its end, or not left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fairway.cluster.walk.kubectl import Kubectl


def program(folder: Path, script: str) -> Kubectl:
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Kubectl(str(path), kubeconfig=folder / "config", cache=folder / "cache")


async def test_what_kubectl_prints_and_how_it_ends_is_the_answer(tmp_path: Path) -> None:
    kubectl = program(tmp_path, 'echo "$KUBECONFIG $1"; echo oh >&2; exit 3')
    assert await kubectl.run(["get"]) == (3, f"{tmp_path}/config get\noh\n")


async def test_a_cancelled_kubectl_is_not_left_behind(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    kubectl = program(tmp_path, f"echo $$ > {pipe}; exec sleep 1000")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(kubectl.run([]))
        pid = int(await asyncio.to_thread(pipe.read_text))
        running.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
