"""Events on the objects the agent has something to say about. Pure.

kube-proxy's reasons: `Starting` and `FailedToStartProxierHealthcheck` on the Node,
`FailedToStartServiceHealthcheck` on the Service.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from fairway.api.types import Object

COMPONENT = "fairway-proxy"


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


def node_reference(name: str) -> Object:
    """As kube-proxy refers to its Node: by its name in place of the UID, which it need not know."""
    return {"kind": "Node", "name": name, "uid": name}


def service_reference(namespace: str, name: str, uid: str) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name, "uid": uid}


def make_event(
    about: Object, *, kind: EventType, reason: str, action: str, message: str, node: str, now: datetime
) -> Object:
    """A core/v1 Event; events on cluster-scoped objects live in the namespace default."""
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = about.get("namespace") or "default"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # client-go's names of events: the object's, and a number that grows with time.
        "metadata": {"name": f"{about['name']}.{int(now.timestamp() * 1_000_000_000):x}", "namespace": namespace},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "type": kind.value,
        "action": action,
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": f"{COMPONENT}-{node}",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "eventTime": None,
        "count": 1,
    }
