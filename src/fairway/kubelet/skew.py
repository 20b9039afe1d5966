"""Probes that are made to fail on purpose, while the pod itself answers as ever: a fault planted in a lab.

Who plants one writes a file, whose name tells the pod and the probe and whose text the way; it is looked for at each
probe, so that a kubelet that was started anew finds it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from fairway.api.types import Key
from fairway.kubelet.pod import ProbeSpec, ProbeType
from fairway.kubelet.prober import ProbeAnswer
from fairway.kubelet.probes import Outcome

_PLANTED = "made to by a fault planted in the lab (fairway fault list)"


class Skew(StrEnum):
    """FAIL: the probe fails at once. SLOW: its answer does not come within the probe's time."""

    FAIL = "fail"
    SLOW = "slow"


Skewed = Callable[[ProbeType], Skew | None]
"""How a probe of one pod is skewed now; None for not at all."""


def skew_file(folder: Path, pod: Key, kind: ProbeType) -> Path:
    """Where the skew of a pod's probe is written. No name of a namespace or a pod holds an underscore."""
    return folder / f"{pod.namespace}_{pod.name}_{kind.lower()}"


def skew_of(folder: Path | None, pod: Key, kind: ProbeType) -> Skew | None:
    """What is planted now; a file that says anything else says nothing."""
    if folder is None:
        return None
    try:
        return Skew(skew_file(folder, pod, kind).read_text("utf-8"))
    except (OSError, ValueError):
        return None


async def skewed_answer(skew: Skew, spec: ProbeSpec) -> ProbeAnswer:
    """What the kubelet gets to see instead of the pod's answer."""
    if skew is Skew.SLOW:
        await asyncio.sleep(spec.timeout_s)
        return ProbeAnswer(outcome=Outcome.FAILURE, message=f"no answer within {spec.timeout_s} s, {_PLANTED}")
    return ProbeAnswer(outcome=Outcome.FAILURE, message=f"it fails, {_PLANTED}")
