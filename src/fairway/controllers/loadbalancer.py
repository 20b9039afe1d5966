"""Load balancer addresses of Services: which addresses, and which node holds them. Pure.

An address of each of the Service's families comes from a pool and stands in `status.loadBalancer.ingress` with ipMode
VIP; the node that answers ARP and neighbour solicitations for them is named by an annotation, and the nodes do the
rest. Both are decided as MetalLB's layer 2 mode does it (metallb.io, "MetalLB in layer 2 mode"): one ready node a
Service, spread by hash; under `externalTrafficPolicy: Local` only a node with a ready endpoint. A node keeps an address
while it may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairway.api.resources import SERVICES
from fairway.api.types import Object, key_of
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.controllers.address_pool import AddressPool, rendezvous
from fairway.controllers.objects import (
    annotations_of,
    created,
    is_terminating,
    is_true,
    labels,
    meta,
    name,
    spec,
    status,
    uid,
)
from fairway.controllers.writes import EventType, Patch, Record, Write

NODE_ANNOTATION = "fairway.dev/load-balancer-node"
"""On a Service: the node that holds its load balancer address."""
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""On a node, whatever the value: it holds no load balancer address (KEP-1143)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerView:
    """A Service, all other Services (their addresses are taken), all nodes, and the Service's EndpointSlices."""

    service: Object
    others: Iterable[Object]
    nodes: Sequence[Object]
    slices: Sequence[Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """An address, or why there is none."""

    address: IPAddress | None
    refusal: str = ""


def reconcile(view: LoadBalancerView, pools: Sequence[AddressPool]) -> list[Write]:
    """Give the Service its addresses and a node, move them, or take all away; status and annotation go in one write.

    pools: at most one a family.
    """
    service = view.service
    if is_terminating(service):
        return []
    if not is_ours(service):
        return _release(service, pools)
    grants = _grants(service, view.others, pools)
    given = [grant.address for grant in grants if grant.address is not None]
    node = _holder(view) if given else None
    writes = _patch(service, [{"ip": str(address), "ipMode": "VIP"} for address in given], node)
    refusals = [grant.refusal for grant in grants if grant.refusal]
    if refusals:
        message = f"Error syncing load balancer: {'; '.join(refusals)}"
        return [
            *writes,
            Record(regarding=service, type=EventType.WARNING, reason="SyncLoadBalancerFailed", message=message),
        ]
    if writes:
        told = f"Assigned {' and '.join(map(str, given))}, held by {node or 'no node'}"
        writes.append(Record(regarding=service, reason="EnsuredLoadBalancer", message=told))
    return writes


def is_ours(service: Object) -> bool:
    """Whether the Service wants a load balancer and names no other implementation (`spec.loadBalancerClass`)."""
    return spec(service).get("type") == "LoadBalancer" and not spec(service).get("loadBalancerClass")


def addresses(service: Object) -> list[IPAddress]:
    """The addresses that the Service's status holds."""
    found = []
    for ingress in (status(service).get("loadBalancer") or {}).get("ingress") or ():
        try:
            found.append(parse_address(ingress.get("ip", "")))
        except Refused:  # a host name
            continue
    return found


def is_waiting(service: Object) -> bool:
    """Whether the Service lacks an address, and so may use one that comes free."""
    wanted = spec(service).get("loadBalancerIP")
    held = addresses(service)
    lacks = not set(_families(service)) <= {address.version for address in held}
    return is_ours(service) and (lacks or bool(wanted and wanted not in map(str, held)))


def _families(service: Object) -> list[Family]:
    """In the order of the Service's own; one that does not say is of IPv4."""
    named = spec(service).get("ipFamilies") or [Family.IPV4.api_name]
    return [family for name in named for family in Family if family.api_name == name]


def _grants(service: Object, others: Iterable[Object], pools: Sequence[AddressPool]) -> list[_Grant]:
    """One for each of the Service's families that has a pool; `loadBalancerIP` is for that of its own family."""
    wanted, refusal = _requested(service)
    of_family = {pool.family: pool for pool in pools}
    own = [of_family[family] for family in _families(service) if family in of_family]
    if not own:
        names = " or ".join(family.api_name for family in _families(service))
        return [_Grant(address=None, refusal=f"there are no load balancer addresses of {names}")]
    # One of no family of the Service's is refused by the first pool.
    asked = next((pool for pool in own if wanted is not None and pool.family == wanted.version), own[0])
    held: dict[IPAddress, Object] = {}
    for other in sorted((one for one in others if uid(one) != uid(service)), key=created, reverse=True):
        held |= dict.fromkeys(addresses(other), other)
    return [
        _allocate(service, held, pool, wanted if pool is asked else None, refusal if pool is asked else "")
        for pool in own
    ]


def _requested(service: Object) -> tuple[IPAddress | None, str]:
    """The address the Service asks for, or why that is none."""
    text = spec(service).get("loadBalancerIP")
    if not text:
        return None, ""
    try:
        return parse_address(text), ""
    except Refused:
        return None, f'spec.loadBalancerIP "{text}" is no IP address'


def _allocate(
    service: Object, held: Mapping[IPAddress, Object], pool: AddressPool, wanted: IPAddress | None, refusal: str
) -> _Grant:
    """The address it has, if that may stay; else the one it asks for; else any free one.

    held: by whom each address is taken. refusal: why what it asks for is nothing to be had.
    """
    have = next((one for one in addresses(service) if one in pool), None)
    # Two with one address, as after a restore: the older keeps it.
    if have is not None and have in held and created(held[have]) < created(service):
        have = None
    if refusal:
        return _Grant(address=have, refusal=refusal)
    if wanted is None:
        chosen = have or pool.choose(str(key_of(service)), held)
        if chosen is not None:
            return _Grant(address=chosen)
        return _Grant(address=None, refusal=f"no address is free in {pool}: all {len(pool)} are in use")
    if wanted not in pool:
        return _Grant(address=have, refusal=f"spec.loadBalancerIP {wanted} is not in {pool}")
    if wanted in held and wanted != have:
        return _Grant(address=have, refusal=f"spec.loadBalancerIP {wanted} is in use by {key_of(held[wanted])}")
    return _Grant(address=wanted)


def _holder(view: LoadBalancerView) -> str | None:
    """The node that holds the address: the one that does, while it may."""
    eligible = [name(node) for node in view.nodes if _may_hold(node)]
    if spec(view.service).get("externalTrafficPolicy") == "Local":
        local = nodes_with_ready_endpoints(view.slices)
        eligible = [node for node in eligible if node in local]
    holder = annotations_of(view.service).get(NODE_ANNOTATION)
    if holder is not None and holder in eligible:
        return holder
    return next(iter(rendezvous(str(key_of(view.service)), eligible)), None)


def _may_hold(node: Object) -> bool:
    return is_true(node, "Ready") and EXCLUDE_LABEL not in labels(node) and not is_terminating(node)


def nodes_with_ready_endpoints(slices: Iterable[Object]) -> set[str]:
    """Nodes that have a ready endpoint in these slices; an endpoint that does not say is ready."""
    return {
        str(endpoint["nodeName"])
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if endpoint.get("nodeName") and (endpoint.get("conditions") or {}).get("ready") is not False
    }


def _release(service: Object, pools: Sequence[AddressPool]) -> list[Write]:
    """Take away what we gave to a Service that is of another type or class by now."""
    if NODE_ANNOTATION not in annotations_of(service):
        return []
    ours = spec(service).get("type") != "LoadBalancer" or any(
        one in pool for one in addresses(service) for pool in pools
    )
    return _patch(service, [] if ours else None, None)


def _patch(service: Object, ingress: Sequence[Mapping[str, str]] | None, node: str | None) -> list[Write]:
    """One write of status and annotation, if they are not so already; ingress None leaves the status alone."""
    body: Object = {"metadata": {}, "status": {}}
    if annotations_of(service).get(NODE_ANNOTATION) != node:
        body["metadata"]["annotations"] = {NODE_ANNOTATION: node}
    before = (status(service).get("loadBalancer") or {}).get("ingress") or []
    if ingress is not None and before != list(ingress):
        body["status"]["loadBalancer"] = {"ingress": list(ingress) or None}
    if body == {"metadata": {}, "status": {}}:
        return []
    body["metadata"]["resourceVersion"] = meta(service).get("resourceVersion")
    return [Patch(resource=SERVICES, key=key_of(service), body=body, subresource="status")]
