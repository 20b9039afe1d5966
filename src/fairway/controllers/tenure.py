"""The controllers' own Lease: since when they reach the API server without a break. Pure.

A node whose Lease grows old is only late if we could have seen it renewed. Where the API server was away, nothing was;
so nodes are judged from the time the own Lease could be renewed again. A kube-controller-manager gets the same from its
leader election: it gives up when it cannot renew, and starts afresh (`client-go/tools/leaderelection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fairway.api.resources import LEASES
from fairway.api.types import Key, Object
from fairway.controllers.objects import format_micro_time, meta, parse_time, spec
from fairway.controllers.writes import Create, Recheck, Update, Write

HOLDER = Key("kube-system", "kube-controller-manager")
DURATION_S = 15
"""LeaderElectionConfiguration leaseDuration."""
RENEW_S = 1.5
"""As nodes renew theirs; kube-controller-manager's is 2 s (LeaderElectionConfiguration retryPeriod)."""
BREAK_S = 3.0
"""A renewal that comes later than so many seconds after the last begins a new tenure: the time a node may be silent,
less one renewal, so that no time in which a node seems to have been silent for too long goes by unnoticed here."""


def renew(lease: Object | None, now: datetime) -> list[Write]:
    """Make or renew the own Lease when it is due, and come again."""
    if lease is None:
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": _metadata(), "spec": _spec(now, now)}
        return [Create(resource=LEASES, body=body), Recheck(after_s=RENEW_S)]
    renewed = _time(lease, "renewTime")
    age_s = (now - renewed) / timedelta(seconds=1) if renewed else BREAK_S
    if age_s < RENEW_S:
        return [Recheck(after_s=RENEW_S - max(age_s, 0.0))]
    acquired = _time(lease, "acquireTime") if age_s < BREAK_S else None
    body = {**lease, "metadata": dict(meta(lease)), "spec": {**spec(lease), **_spec(acquired or now, now)}}
    return [Update(resource=LEASES, body=body), Recheck(after_s=RENEW_S)]


def since(lease: Object | None, now: datetime) -> datetime | None:
    """When the present tenure began; None where there is none, so that nobody can be judged."""
    renewed = _time(lease, "renewTime") if lease is not None else None
    if lease is None or renewed is None or now - renewed >= timedelta(seconds=BREAK_S):
        return None
    return _time(lease, "acquireTime")


def _metadata() -> Mapping[str, str]:
    return {"name": HOLDER.name, "namespace": HOLDER.namespace}


def _spec(acquired: datetime, renewed: datetime) -> Mapping[str, Any]:
    return {
        "holderIdentity": "fairway-controllers",
        "leaseDurationSeconds": DURATION_S,
        "acquireTime": format_micro_time(acquired),
        "renewTime": format_micro_time(renewed),
    }


def _time(lease: Object, field: str) -> datetime | None:
    return parse_time(spec(lease).get(field))
