"""postStart and preStop of a container (`pkg/kubelet/lifecycle/handlers.go`)."""

from __future__ import annotations

import asyncio

from fairway.base.errors import FairwayError
from fairway.kubelet.pod import ExecAction, Hook, HttpGet, Sleep, TcpSocket
from fairway.kubelet.prober import Prober, ProbeTarget

PATIENCE_S = 24 * 3600.0
"""For a hook that nobody else puts an end to."""


async def run_hook(hook: Hook, target: ProbeTarget, prober: Prober) -> bool:
    """Run it to its end: whether it did what it should. Of an HTTP answer any status will do."""
    match hook:
        case Sleep(seconds=seconds):
            await asyncio.sleep(seconds)
            return True
        case ExecAction(command=command):
            try:
                code, _ = await target.run(command, PATIENCE_S)
            except (TimeoutError, FairwayError):
                return False
            return code == 0
        case HttpGet():
            return await prober.reaches(hook, target, PATIENCE_S)
        case TcpSocket():  # kept in the API for old objects alone: no kubelet runs it
            return False
