"""A small object list and plain options with which something still is so: what does not matter is cut away. Pure.

Whole objects first, then what their lists hold, then fields; each cut that keeps it so is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from fairway.api.types import Object
from fairway.base.errors import FairwayError
from fairway.plan.options import LocalMode, Mode, Options

MOST_TRIALS = 150
"""Each is a namespace, made and gone; so many take some ten seconds."""

Path = tuple[int | str, ...]
Holds = Callable[[Sequence[Object], Options], bool]

_LISTS: dict[str, Sequence[Path]] = {
    "Service": (
        ("spec", "ports"),
        ("spec", "externalIPs"),
        ("spec", "loadBalancerSourceRanges"),
        ("status", "loadBalancer", "ingress"),
    ),
    "EndpointSlice": (("endpoints",), ("ports",)),
    "Node": (("status", "addresses"),),
}
_FIELDS: dict[str, Sequence[Path]] = {
    "Service": (
        ("status",),
        *(
            ("spec", name)
            for name in (
                "sessionAffinityConfig",
                "sessionAffinity",
                "healthCheckNodePort",
                "loadBalancerSourceRanges",
                "externalIPs",
                "externalTrafficPolicy",
                "internalTrafficPolicy",
                "trafficDistribution",
                "selector",
            )
        ),
        ("metadata", "creationTimestamp"),
        *(("metadata", name) for name in ("annotations", "managedFields", "uid", "resourceVersion")),
    ),
    "EndpointSlice": (
        ("metadata", "creationTimestamp"),
        *(("metadata", name) for name in ("annotations", "managedFields", "ownerReferences", "uid", "resourceVersion")),
    ),
    "Node": (
        ("spec",),
        ("metadata", "labels"),
        *(("metadata", name) for name in ("annotations", "managedFields", "uid", "resourceVersion")),
        *(("status", name) for name in ("images", "nodeInfo", "conditions", "capacity", "allocatable")),
    ),
}
_ENDPOINT_FIELDS = ("hints", "conditions", "zone", "targetRef")


def _plainer(options: Options) -> Iterator[dict[str, Any]]:
    """What fields of options are when nobody says anything."""
    yield {"masquerade_all": False}
    yield {"localhost_node_ports": True}
    yield {"service_cidrs": ()}
    yield {"node_port_addresses": (), "primary_node_port_address": options.mode is Mode.NFTABLES}
    yield {"local_mode": LocalMode.CLUSTER_CIDR, "pod_links": None}
    yield {"cluster_cidrs": ()}
    yield {"node_addresses": ()}


def shrink(
    objects: Sequence[Object], options: Options, holds: Holds, *, most_trials: int = MOST_TRIALS
) -> tuple[list[Object], Options]:
    """The least found for which `holds`, which it does of what is given; asked at most so often.

    What it is asked of need not be valid objects: a FairwayError from it is a no.
    """
    trials = iter(range(most_trials))

    def is_so(some: Sequence[Object], plainer: Options) -> bool:
        if next(trials, None) is None:
            return False
        try:
            return holds(some, plainer)
        except FairwayError:
            return False

    kept = list(objects)
    for level in (_whole, _items, _fields):
        for path in list(level(kept)):
            smaller = _without(kept, path)
            if is_so(smaller, options):
                kept = smaller
    for change in list(_plainer(options)):
        plainer = replace(options, **change)
        if plainer != options and is_so(kept, plainer):
            options = plainer
    return kept, options


def _whole(objects: Sequence[Object]) -> Iterator[Path]:
    """The last first, so that a cut leaves the paths to come as they are; so do all levels."""
    yield from ((index,) for index in reversed(range(len(objects))))


def _items(objects: Sequence[Object]) -> Iterator[Path]:
    for index, obj in enumerate(objects):
        for path in _LISTS.get(str(obj.get("kind")), ()):
            items = _at(obj, path)
            if isinstance(items, list):
                yield from ((index, *path, item) for item in reversed(range(len(items))))


def _fields(objects: Sequence[Object]) -> Iterator[Path]:
    for index, obj in enumerate(objects):
        kind = str(obj.get("kind"))
        for path in _FIELDS.get(kind, ()):
            if _at(obj, path) is not None:
                yield index, *path
        endpoints = _at(obj, ("endpoints",)) if kind == "EndpointSlice" else None
        for number, endpoint in enumerate(endpoints or ()):
            yield from ((index, "endpoints", number, name) for name in _ENDPOINT_FIELDS if name in endpoint)


def _at(value: Any, path: Path) -> Any:
    """None where there is nothing."""
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _without(objects: Sequence[Object], path: Path) -> list[Object]:
    """A copy of all but what is at the path."""
    if len(path) == 1:
        return [obj for index, obj in enumerate(objects) if index != path[0]]
    copy = list(objects)
    index = path[0]
    assert isinstance(index, int)
    copy[index] = deepcopy(copy[index])
    place: Any = copy[index]
    for part in path[1:-1]:
        place = place[part]
    if place:
        del place[path[-1]]
    return copy
