"""What all pod workers of a node share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairway.kubelet.events import Recorder
from fairway.kubelet.images import Catalogue
from fairway.kubelet.pod_volumes import Library
from fairway.kubelet.prober import Prober
from fairway.kubelet.runtime import Runtime
from fairway.watch.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """skews: the folder of `kubelet.skew`, None for none. clock: seconds since the epoch."""

    client: Client
    runtime: Runtime
    prober: Prober
    recorder: Recorder
    catalogue: Catalogue
    library: Library
    node_addresses: Sequence[str]
    skews: Path | None = None
    clock: Callable[[], float] = time.time
