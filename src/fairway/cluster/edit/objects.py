"""The objects of a cluster as they would be after `kubectl apply` of others. Pure.

The merge is kubectl's: what a manifest says wins, what the last apply said and this one does not goes, everything else
stays, allocated addresses and ports among it (apimachinery `strategicpatch.CreateThreeWayMergePatch`). Then the API
server's defaults and validation, and the EndpointSlices that its controllers would make of the pods there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.api.resources import BY_KIND, ENDPOINT_SLICES, NODES, PODS, SERVICES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key, Object, key_of
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.strategic_merge import PATCH, StrategicMergeError, strategic_merge
from fairway.apiserver.strategy import Strategy
from fairway.base.errors import Refused
from fairway.controllers.endpoint_pods import TRIGGER_TIME
from fairway.controllers.endpointslice import SERVICE_NAME_LABEL, EndpointSliceView, reconcile
from fairway.controllers.writes import Create, Delete, Update

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
READ = (SERVICES, ENDPOINT_SLICES, NODES)
"""Kinds whose edit says something of a node's rules by itself."""

_Identity = tuple[str, str, Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """One object that differs. fields: path, value before and after, each None where it is not there."""

    kind: str
    key: Key
    change: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Objects before and after; notes: what cannot be told yet. ignored: how many given objects of other kinds."""

    before: list[Object]
    after: list[Object]
    changes: tuple[ObjectChange, ...]
    notes: tuple[str, ...] = ()
    ignored: Mapping[str, int]


def applied(live: Sequence[Object], given: Iterable[Object]) -> Edit:
    """`live` with the objects of manifests applied.

    Raises Refused, naming object and field, for what the API server would refuse.
    """
    objects = {identity(obj): obj for obj in live}
    notes: list[str] = []
    ignored: dict[str, int] = {}
    services: list[Key] = []
    for obj in given:
        resource = BY_KIND.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
        if resource not in READ:
            ignored[str(obj["kind"])] = ignored.get(str(obj["kind"]), 0) + 1
            continue
        at = identity(obj)
        objects[at] = _apply(resource, objects.get(at), obj, notes)
        if resource is SERVICES:
            services.append(key_of(obj))
    for key in services:
        _follow(objects, key, notes)
    after = list(objects.values())
    return Edit(
        before=list(live), after=after, changes=tuple(changes(live, after)), notes=tuple(notes), ignored=ignored
    )


def replaced(before: list[Object], after: list[Object]) -> Edit:
    """One whole state in place of another."""
    return Edit(before=before, after=after, changes=tuple(changes(before, after)), ignored={})


def identity(obj: Object) -> _Identity:
    """By which an object is known in a cluster."""
    return str(obj.get("apiVersion")), str(obj.get("kind")), key_of(obj)


# -- one object


def _apply(resource: Resource, live: Object | None, given: Object, notes: list[str]) -> Object:
    strategy = strategy_for(resource)
    named = f"{resource.kind} {key_of(given)}"
    try:
        if live is None:
            made = strategy.prepare_create(strategy.default(strategy.decode(given)[0]))
            causes = strategy.validate_create(made)
        else:
            merged = strategic_merge(live, _patch(live, given, strategy), strategy.schema_type, strategy.patch_rule)
            made = strategy.prepare_update(strategy.default(strategy.decode(merged)[0]), live)
            causes = strategy.validate_update(made, live)
    except ApiError as error:
        raise Refused(f"{named}: {error.message}") from None
    except StrategicMergeError as error:
        raise Refused(f"{named}: {error}") from None
    if resource is SERVICES:
        notes += _unallocated(made, named)
        if not made["spec"].get("clusterIP"):
            causes = [cause for cause in causes if not _will_be_allocated(cause.field)]
    if causes:
        raise Refused(f"{named}: {causes[0].field}: {causes[0].message}")
    return made


def _will_be_allocated(field: str) -> bool:
    return field.startswith(("spec.clusterIP", "spec.ipFamil"))


def _unallocated(service: Object, named: str) -> Iterator[str]:
    """What the API server gives when it stores the Service, and nobody knows before."""
    spec = service["spec"]
    kind = spec.get("type", "ClusterIP")
    if kind == "ExternalName":
        return
    if not spec.get("clusterIP"):
        yield f"{named} has no clusterIP yet: one will be allocated, and until then its doors cannot be told"
    if kind in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False:
        ports = [str(port["port"]) for port in spec.get("ports") or () if not port.get("nodePort")]
        if ports:
            yield f"{named} has no node port for port {', '.join(ports)} yet: one will be allocated"


def _patch(live: Object, given: Object, strategy: Strategy) -> Object:
    """The three-way patch of kubectl apply."""
    patch = {name: value for name, value in given.items() if name not in ("apiVersion", "kind", "status")}
    last = _last_applied(live)
    gone = _gone(last, given, strategy, strategy.schema_type) if last is not None else {}
    return _joined(gone, patch)


def _last_applied(live: Object) -> Object | None:
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = json.loads(text) if text else None
    except ValueError:
        return None
    return last if isinstance(last, dict) else None


def _gone(last: Object, given: Object, strategy: Strategy, type_name: str) -> Object:
    """What takes away what `last` said and `given` does not say."""
    patch: Object = {}
    for name, value in last.items():
        rule = strategy.patch_rule(type_name, name) if type_name else None
        if name not in given:
            patch[name] = None
        elif isinstance(value, dict) and isinstance(given[name], dict):
            inner = _gone(value, given[name], strategy, rule.element if rule is not None and rule.element else "")
            if inner:
                patch[name] = inner
        elif isinstance(value, list) and isinstance(given[name], list) and rule is not None and rule.merge_key:
            kept = [item.get(rule.merge_key) for item in given[name] if isinstance(item, dict)]
            keys = [item.get(rule.merge_key) for item in value if isinstance(item, dict)]
            deleted = [{PATCH: "delete", rule.merge_key: key} for key in keys if key not in kept]
            if deleted:
                patch[name] = deleted
    return patch


def _joined(gone: Object, patch: Object) -> Object:
    """Both in one: deletions of fields and list items, and what the manifest says."""
    joined = dict(gone)
    for name, value in patch.items():
        before = joined.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            joined[name] = _joined(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            joined[name] = [*before, *value]
        else:
            joined[name] = value
    return joined


# -- what follows


def _follow(objects: dict[_Identity, Object], key: Key, notes: list[str]) -> None:
    """The slices of a Service, as the EndpointSlice controller would have them for the pods there are."""
    service = objects["v1", "Service", key]
    if not (service.get("spec") or {}).get("selector"):
        return
    pods = [obj for obj in _of(objects, PODS) if key_of(obj).namespace == key.namespace]
    if not pods:
        notes.append(f"Service {key}: no pods are known, so which endpoints it will have cannot be told")
        return
    slices = [
        obj
        for obj in _of(objects, ENDPOINT_SLICES)
        if key_of(obj).namespace == key.namespace
        and ((obj.get("metadata") or {}).get("labels") or {}).get(SERVICE_NAME_LABEL) == key.name
    ]
    nodes = {key_of(obj).name: obj for obj in _of(objects, NODES)}
    # A Service that is yet to be made has no uid, by which the controller knows its slices.
    metadata = {"uid": f"of {key}", **service["metadata"]}
    view = EndpointSliceView(service={**service, "metadata": metadata}, pods=pods, nodes=nodes, slices=slices)
    for index, write in enumerate(reconcile(view)):
        if isinstance(write, Delete):
            objects.pop((write.resource.api_version, write.resource.kind, write.key), None)
        elif isinstance(write, Create | Update) and write.resource is ENDPOINT_SLICES:
            body = {"apiVersion": ENDPOINT_SLICES.api_version, "kind": ENDPOINT_SLICES.kind, **write.body}
            if not body["metadata"].get("name"):
                named = {**body["metadata"], "name": f"{body['metadata'].get('generateName', key.name)}new{index}"}
                body = {**body, "metadata": named}
            objects[identity(body)] = body


def _of(objects: Mapping[_Identity, Object], resource: Resource) -> Iterator[Object]:
    wanted = resource.api_version, resource.kind
    return (obj for (version, kind, _), obj in objects.items() if (version, kind) == wanted)


# -- what differs


def changes(before: Iterable[Object], after: Iterable[Object]) -> Iterator[ObjectChange]:
    """The Services, EndpointSlices and Nodes that differ, and where."""
    kinds = {(resource.api_version, resource.kind) for resource in READ}
    old = {at: obj for obj in before if (at := identity(obj))[:2] in kinds}
    new = {at: obj for obj in after if (at := identity(obj))[:2] in kinds}
    for at in sorted(old.keys() | new.keys(), key=lambda at: (at[1], at[2])):
        if at not in new or at not in old:
            yield ObjectChange(kind=at[1], key=at[2], change="added" if at in new else "removed")
            continue
        fields = tuple(_fields(_told(old[at]), _told(new[at]), ""))
        if fields:
            yield ObjectChange(kind=at[1], key=at[2], change="changed", fields=fields)


_BY_OTHERS = (LAST_APPLIED, TRIGGER_TIME)
"""Annotations that tell when something was done, and by what, but nothing of what it is."""
_UNTOLD = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "ownerReferences")


def _told(obj: Object) -> Object:
    """Without what only the API server's bookkeeping is about, and without what is null or empty."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _UNTOLD}
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name not in _BY_OTHERS}
    told = {**obj, "metadata": {**metadata, "annotations": annotations}}
    return {name: value for name, value in told.items() if name not in ("apiVersion", "kind")}


def _fields(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _fields(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _fields(one, other, f"{path}[{index}]")
    elif old != new and (old or new):
        yield path, old, new
