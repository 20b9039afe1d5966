"""What Services and pods ask for and the lab lacks: said of the object in an event, so that nobody has to guess. Pure.

What a pod on a node lacks is its kubelet's to say. Nothing is refused that a real cluster takes.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairway.api.resources import PODS, SERVICES, Resource
from fairway.api.types import Object
from fairway.controllers.objects import annotations_of, spec
from fairway.controllers.scheduler import SCHEDULER_NAME
from fairway.controllers.writes import EventType, Record, Write

REASON = "NotEnforced"

_TOPOLOGY = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
"""KEP-2433, by its newer and its older name."""

_OTHER_BALANCERS = (
    "alb.ingress.kubernetes.io/",
    "cloud.google.com/",
    "kube-vip.io/",
    "metallb.io/",
    "metallb.universe.tf/",
    "networking.gke.io/",
    "service.beta.kubernetes.io/",
)
"""Prefixes of the annotations that clouds and other load balancers read."""


def lacks(resource: Resource, obj: Object) -> tuple[str, ...]:
    """What of an object has no effect here, as one clause each that names the field."""
    if resource == SERVICES:
        return tuple(_of_service(obj))
    return tuple(_of_pod(obj)) if resource == PODS else ()


def reconcile(resource: Resource, obj: Object) -> list[Write]:
    found = lacks(resource, obj)
    message = f"without effect in this lab: {', '.join(found)}"
    return [Record(regarding=obj, type=EventType.WARNING, reason=REASON, message=message)] if found else []


def _of_service(service: Object) -> list[str]:
    balanced, annotations = spec(service).get("type") == "LoadBalancer", annotations_of(service)
    found = []
    if balanced and (wanted := spec(service).get("loadBalancerClass")):
        found.append(f"spec.loadBalancerClass {wanted} (nothing here implements it: the Service gets no address)")
    found += [
        f"metadata.annotations[{name}] (no hints are made of it: use spec.trafficDistribution)"
        for name in _TOPOLOGY
        if _is_on(annotations, name)
    ]
    if balanced:
        others = sorted(name for name in annotations if name.startswith(_OTHER_BALANCERS))
        found += [f"metadata.annotations[{name}] (for a load balancer that is not here)" for name in others]
    return found


def _is_on(annotations: Mapping[str, str], name: str) -> bool:
    return annotations.get(name, "").lower() not in ("", "disabled")


def _of_pod(pod: Object) -> list[str]:
    """Of one that no node has: whoever else shall choose one is not here."""
    scheduler = spec(pod).get("schedulerName") or SCHEDULER_NAME
    if scheduler == SCHEDULER_NAME or spec(pod).get("nodeName"):
        return []
    return [f"spec.schedulerName {scheduler} (there is no such scheduler here: the pod stays Pending)"]
