"""Tables: what `kubectl get` prints (kubernetes `pkg/printers/internalversion/printers.go`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.api import resources as kinds
from fairway.api.resources import Resource
from fairway.api.types import Object
from fairway.apiserver.durations import UNKNOWN, age
from fairway.apiserver.pod_status import readiness_gates, summarize

_META_VERSION = "meta.k8s.io/v1"
_NONE = "<none>"
_UNSET = "<unset>"
_MAX_ENDPOINTS = 3
"""Endpoints shown before "+ N more..."."""

Cells = list[Any]
RowMaker = Callable[[Object, datetime], Cells]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; wide ones show with `-o wide` only."""

    name: str
    kind: str = "string"
    is_wide: bool = False
    is_name: bool = False

    def to_json(self) -> Object:
        return {
            "name": self.name,
            "type": self.kind,
            "format": "name" if self.is_name else "",
            "priority": 1 if self.is_wide else 0,
        }


def table(
    resource: Resource,
    objects: Sequence[Object],
    *,
    now: datetime,
    include: str = "Metadata",
    metadata: Object | None = None,
) -> Object:
    """A meta.k8s.io/v1 Table of objects of one kind.

    now: for ages. include: what goes with a row: Metadata, Object or None. metadata: the list's own.
    """
    printer = _PRINTERS.get(resource, _DEFAULT)
    return {
        "kind": "Table",
        "apiVersion": _META_VERSION,
        "metadata": metadata or {},
        "columnDefinitions": [column.to_json() for column in printer.columns],
        "rows": [_row(resource, printer, obj, now, include) for obj in objects],
    }


def _row(resource: Resource, printer: _Printer, obj: Object, now: datetime, include: str) -> Object:
    row: Object = {"cells": printer.row(obj, now)}
    if include == "Object":
        row["object"] = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
    elif include == "Metadata":
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": _META_VERSION, "metadata": obj["metadata"]}
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Printer:
    columns: tuple[Column, ...]
    row: RowMaker


def _printer(names: str, wide: str, row: RowMaker, *, integers: Sequence[str] = ()) -> _Printer:
    """names, wide: column names separated by commas."""
    columns = [
        Column(
            name=text,
            kind="integer" if text in integers else "string",
            is_wide=is_wide,
            is_name=text == "Name",
        )
        for names_text, is_wide in ((names, False), (wide, True))
        for text in names_text.split(",")
        if text
    ]
    return _Printer(columns=tuple(columns), row=row)


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name") or "")


def _age(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(selector: Object | None) -> str:
    """A LabelSelector as text."""
    terms = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for one in (selector or {}).get("matchExpressions") or []:
        values = ",".join(sorted(one.get("values") or []))
        texts = {"In": f"{one['key']} in ({values})", "NotIn": f"{one['key']} notin ({values})"}
        texts |= {"Exists": one["key"], "DoesNotExist": f"!{one['key']}"}
        terms.append(texts.get(one.get("operator"), ""))
    return ",".join(terms) or _NONE


def _containers(template: Object) -> tuple[str, str]:
    containers = template["spec"].get("containers") or []
    return ",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers)


def _pod(obj: Object, now: datetime) -> Cells:
    summary = summarize(obj, now)
    status = obj.get("status") or {}
    ips = [one.get("ip") for one in status.get("podIPs") or []]
    return [
        _name(obj),
        summary.ready,
        summary.status,
        summary.restarts,
        _age(obj, now),
        (ips[0] if ips else status.get("podIP")) or _NONE,
        obj["spec"].get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        readiness_gates(obj),
    ]


def _service(obj: Object, now: datetime) -> Cells:
    spec = obj["spec"]
    cluster_ip = (spec.get("clusterIPs") or [spec.get("clusterIP") or _NONE])[0]
    return [
        _name(obj),
        spec.get("type") or "",
        cluster_ip,
        _external_ip(obj),
        _service_ports(spec),
        _age(obj, now),
        _labels(spec.get("selector")),
    ]


def _external_ip(obj: Object) -> str:
    spec = obj["spec"]
    external = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or _NONE
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
            addresses = sorted({one.get("ip") or one.get("hostname") or "" for one in ingress} - {""})
            return ",".join([*addresses, *external]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName") or "")
    return UNKNOWN


def _service_ports(spec: Object) -> str:
    texts = []
    for port in spec.get("ports") or []:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or _NONE


def _deployment(obj: Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    names, images = _containers(spec["template"])
    return [
        _name(obj),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        _age(obj, now),
        names,
        images,
        _selector(spec.get("selector")),
    ]


def _daemon_set(obj: Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    names, images = _containers(spec["template"])
    return [
        _name(obj),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        _selector({"matchLabels": (spec["template"].get("spec") or {}).get("nodeSelector") or {}}),
        _age(obj, now),
        names,
        images,
        _selector(spec.get("selector")),
    ]


def _controller_revision(obj: Object, now: datetime) -> Cells:
    owners = obj["metadata"].get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), None)
    controller = "<none>"
    if owner is not None:
        group, _, _ = str(owner.get("apiVersion") or "").rpartition("/")
        kind = str(owner.get("kind") or "").lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return [_name(obj), controller, obj.get("revision") or 0, _age(obj, now)]


def _replica_set(obj: Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    names, images = _containers(spec["template"])
    return [
        _name(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        _age(obj, now),
        names,
        images,
        _selector(spec.get("selector")),
    ]


def _node(obj: Object, now: datetime) -> Cells:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    addresses = status.get("addresses") or []

    def address(kind: str) -> str:
        return next((one["address"] for one in addresses if one.get("type") == kind), _NONE)

    return [
        _name(obj),
        _node_status(obj),
        _node_roles(obj),
        _age(obj, now),
        info.get("kubeletVersion") or "",
        address("InternalIP"),
        address("ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready = [one.get("status") for one in conditions if one.get("type") == "Ready"]
    texts = ["Ready" if status == "True" else "NotReady" for status in ready] or ["Unknown"]
    if obj["spec"].get("unschedulable"):
        texts.append("SchedulingDisabled")
    return ",".join(texts)


def _node_roles(obj: Object) -> str:
    roles = set()
    for label, value in (obj["metadata"].get("labels") or {}).items():
        if label.startswith("node-role.kubernetes.io/"):
            roles.add(label.partition("/")[2])
        elif label == "kubernetes.io/role" and value:
            roles.add(value)
    return ",".join(sorted(roles - {""})) or _NONE


def _namespace(obj: Object, now: datetime) -> Cells:
    return [_name(obj), (obj.get("status") or {}).get("phase") or "", _age(obj, now)]


def _endpoints(obj: Object, now: datetime) -> Cells:
    return [_name(obj), _endpoint_list(obj.get("subsets") or []), _age(obj, now)]


def _endpoint_list(subsets: Sequence[Object]) -> str:
    texts: list[str] = []
    for subset in subsets:
        addresses = [one["ip"] for one in subset.get("addresses") or []]
        ports = subset.get("ports") or []
        if not ports:
            texts += addresses
        for port in ports:
            texts += [f"[{ip}]:{port['port']}" if ":" in ip else f"{ip}:{port['port']}" for ip in addresses]
    return _shortened(texts, " + {} more...") or _NONE


def _shortened(texts: Sequence[str], more: str) -> str:
    text = ",".join(texts[:_MAX_ENDPOINTS])
    return text + more.format(len(texts) - _MAX_ENDPOINTS) if len(texts) > _MAX_ENDPOINTS else text


def _endpoint_slice(obj: Object, now: datetime) -> Cells:
    addresses = [address for endpoint in obj.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    return [
        _name(obj),
        obj.get("addressType") or "",
        _slice_ports(obj.get("ports") or []),
        _shortened(addresses, " + {} more...") or _UNSET,
        _age(obj, now),
    ]


def _slice_ports(ports: Sequence[Object]) -> str:
    if not ports:
        return _UNSET
    texts = [str(port["port"]) if port.get("port") is not None else "*" for port in ports]
    return _shortened(texts, " + {} more...")


def _config_map(obj: Object, now: datetime) -> Cells:
    return [_name(obj), str(len(obj.get("data") or {}) + len(obj.get("binaryData") or {})), _age(obj, now)]


def _secret(obj: Object, now: datetime) -> Cells:
    return [_name(obj), obj.get("type") or "", str(len(obj.get("data") or {})), _age(obj, now)]


def _priority_class(obj: Object, now: datetime) -> Cells:
    default = bool(obj.get("globalDefault"))
    return [_name(obj), obj.get("value") or 0, default, _age(obj, now), obj.get("preemptionPolicy") or ""]


def _service_cidr(obj: Object, now: datetime) -> Cells:
    return [_name(obj), ",".join(obj["spec"].get("cidrs") or []), _age(obj, now)]


def _ip_address(obj: Object, now: datetime) -> Cells:
    parent = (obj.get("spec") or {}).get("parentRef")
    if not parent:
        return [_name(obj), _NONE]
    resource = ".".join(filter(None, (parent.get("resource"), parent.get("group")))).lower()
    return [_name(obj), "/".join(filter(None, (resource, parent.get("namespace"), parent.get("name"))))]


def _lease(obj: Object, now: datetime) -> Cells:
    return [_name(obj), obj["spec"].get("holderIdentity") or "", _age(obj, now)]


def _event(obj: Object, now: datetime) -> Cells:
    involved, source, series = obj.get("involvedObject") or {}, obj.get("source") or {}, obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    kind, name = str(involved.get("kind") or "").lower(), involved.get("name") or ""
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return [
        age(last, now),
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath") or "",
        f"{component}, {host}" if host else component,
        str(obj.get("message") or "").strip(),
        age(first, now),
        series.get("count") or obj.get("count") or 1,
        _name(obj),
    ]


def _plain(obj: Object, now: datetime) -> Cells:
    return [_name(obj), _age(obj, now)]


_WORKLOAD_WIDE = "Containers,Images,Selector"
_DEFAULT = _printer("Name,Age", "", _plain)

_PRINTERS: dict[Resource, _Printer] = {
    kinds.PODS: _printer("Name,Ready,Status,Restarts,Age", "IP,Node,Nominated Node,Readiness Gates", _pod),
    kinds.SERVICES: _printer("Name,Type,Cluster-IP,External-IP,Port(s),Age", "Selector", _service),
    kinds.DAEMON_SETS: _printer(
        "Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age",
        _WORKLOAD_WIDE,
        _daemon_set,
        integers=("Desired", "Current", "Ready", "Up-to-date", "Available"),
    ),
    kinds.DEPLOYMENTS: _printer("Name,Ready,Up-to-date,Available,Age", _WORKLOAD_WIDE, _deployment),
    kinds.CONTROLLER_REVISIONS: _printer("Name,Controller,Revision,Age", "", _controller_revision),
    kinds.REPLICA_SETS: _printer(
        "Name,Desired,Current,Ready,Age", _WORKLOAD_WIDE, _replica_set, integers=("Desired", "Current", "Ready")
    ),
    kinds.NODES: _printer(
        "Name,Status,Roles,Age,Version",
        "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime",
        _node,
    ),
    kinds.NAMESPACES: _printer("Name,Status,Age", "", _namespace),
    kinds.ENDPOINTS: _printer("Name,Endpoints,Age", "", _endpoints),
    kinds.ENDPOINT_SLICES: _printer("Name,AddressType,Ports,Endpoints,Age", "", _endpoint_slice),
    kinds.CONFIG_MAPS: _printer("Name,Data,Age", "", _config_map),
    kinds.SECRETS: _printer("Name,Type,Data,Age", "", _secret),
    kinds.SERVICE_ACCOUNTS: _DEFAULT,
    # Not all wide columns stand last here, as they do elsewhere.
    kinds.EVENTS: _Printer(
        columns=(
            Column(name="Last Seen"),
            Column(name="Type"),
            Column(name="Reason"),
            Column(name="Object"),
            Column(name="Subobject", is_wide=True),
            Column(name="Source", is_wide=True),
            Column(name="Message"),
            Column(name="First Seen", is_wide=True),
            Column(name="Count", is_wide=True),
            Column(name="Name", is_wide=True, is_name=True),
        ),
        row=_event,
    ),
    kinds.LEASES: _printer("Name,Holder,Age", "", _lease),
    kinds.PRIORITY_CLASSES: _printer("Name,Value,Global-Default,Age,PreemptionPolicy", "", _priority_class),
    kinds.SERVICE_CIDRS: _printer("Name,CIDRs,Age", "", _service_cidr),
    kinds.IP_ADDRESSES: _printer("Name,ParentRef", "", _ip_address),
}
