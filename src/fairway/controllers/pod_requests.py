"""What pods ask of a node's resources. Pure (`component-helpers/resource/helpers.go`, PodRequests)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from fairway.api.quantity import parse_quantity
from fairway.api.types import Object
from fairway.controllers.objects import spec, status

Amounts = dict[str, Decimal]
"""By resource, in its unit: cores of cpu, bytes of memory, a number of pods."""


def requests(pod: Object) -> Amounts:
    """Its containers together with the init containers that stay, or more where an init container needs more."""
    running: Amounts = {}
    peak: Amounts = {}
    for container in spec(pod).get("initContainers") or ():
        needed = plus(running, _requested(container))
        peak = _most(peak, needed)
        if container.get("restartPolicy") == "Always":
            running = needed
    for container in spec(pod).get("containers") or ():
        running = plus(running, _requested(container))
    return plus(_most(peak, running), _amounts(spec(pod).get("overhead")))


def allocatable(node: Object) -> Amounts:
    """What the node has for pods."""
    return _amounts(status(node).get("allocatable"))


def total(pods: Iterable[Object]) -> Amounts:
    """Requests of all pods together."""
    summed: Amounts = {}
    for pod in pods:
        summed = plus(summed, requests(pod))
    return summed


def plus(left: Amounts, right: Amounts) -> Amounts:
    return {one: left.get(one, Decimal()) + right.get(one, Decimal()) for one in {**left, **right}}


def _most(left: Amounts, right: Amounts) -> Amounts:
    return {one: max(left.get(one, Decimal()), right.get(one, Decimal())) for one in {**left, **right}}


def _requested(container: Mapping[str, Any]) -> Amounts:
    # A limit without a request is a request too; the API server has written that into the pod.
    return _amounts((container.get("resources") or {}).get("requests"))


def _amounts(written: Mapping[str, Any] | None) -> Amounts:
    return {resource: parse_quantity(str(quantity)) for resource, quantity in (written or {}).items()}
