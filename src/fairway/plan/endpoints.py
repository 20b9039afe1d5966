"""Which endpoints of a Service may receive its traffic on one node.

The rules are kube-proxy's `CategorizeEndpoints` (pkg/proxy/topology.go) and its reading of slices
(pkg/proxy/endpointslicecache.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

from fairway.api.core import ApiProtocol
from fairway.api.discovery import HEADLESS_LABEL, AddressType, Endpoint, EndpointSlice, TopologyHint
from fairway.base.addresses import canonical_address, may_be_special, parse_address, special
from fairway.base.errors import Refused
from fairway.plan.model import Backend, Note, Origin
from fairway.plan.options import NodeView

_NOBODY: frozenset[str] = frozenset()


class Topology(Enum):
    """How hints narrow the endpoints of the whole cluster for this node."""

    ANY = "any"
    SAME_ZONE = "same zone"
    SAME_NODE = "same node"


class KnownEndpoint(Struct, frozen=True, kw_only=True, gc=False):
    """One address and port of a Service port, ready or not."""

    backend: Backend
    ready: bool
    serving: bool
    terminating: bool
    for_zones: frozenset[str] = frozenset()
    for_nodes: frozenset[str] = frozenset()


class KnownEndpoints(Struct, frozen=True, kw_only=True, gc=False):
    """What a Service's slices say.

    by_port: by the name and protocol of a slice's port, each sorted by the backends' texts. ready_here: distinct
    addresses of ready endpoints on this node, over all ports. slices: the names of those that were read.
    """

    by_port: Mapping[tuple[str, ApiProtocol], tuple[KnownEndpoint, ...]]
    ready_here: int
    slices: tuple[str, ...]
    notes: tuple[Note, ...]


class Usable(Struct, frozen=True, kw_only=True, gc=False):
    """The endpoints of one Service port that may receive new connections from this node.

    cluster: anywhere, narrowed by `topology`; local: on this node, whatever the hints. Both sorted by text, and each
    falls back to endpoints that terminate but still serve when it has no ready one (KEP-1669): *_terminating.
    known: how many endpoints the port has, usable or not.
    """

    cluster: tuple[Backend, ...]
    local: tuple[Backend, ...]
    topology: Topology = Topology.ANY
    cluster_terminating: bool = False
    local_terminating: bool = False
    known: int = 0


def read_slices(slices: Iterable[EndpointSlice], view: NodeView) -> KnownEndpoints:
    """Join the slices of one Service: what several say of one address and port is said once, in no order."""
    by_port: dict[tuple[str, ApiProtocol], dict[str, KnownEndpoint]] = {}
    ready_here: set[str] = set()
    names: list[str] = []
    notes: list[Note] = []
    for endpoint_slice in sorted(slices, key=_name_of):
        if HEADLESS_LABEL in endpoint_slice.metadata.labels or not _is_of_family(endpoint_slice, view, notes):
            continue
        names.append(endpoint_slice.metadata.name)
        ports = [
            (port.port, by_port.setdefault((port.name, port.protocol), {}))
            for port in endpoint_slice.ports
            if port.port
        ]
        for index, endpoint in enumerate(endpoint_slice.endpoints):
            try:
                host = canonical_address(endpoint.addresses[0], view.family)
                if may_be_special(host):
                    _refuse_special(host)
            except (IndexError, Refused) as error:
                notes.append(_unusable(endpoint_slice, index, error))
                continue
            local = endpoint.node_name == view.name
            if local and ports and endpoint.ready:
                ready_here.add(host)
            place = f"[{host}]" if ":" in host else host
            for number, same_port in ports:
                known, text = _known(endpoint, Backend(host=host, port=number, local=local)), f"{place}:{number}"
                if same_port.setdefault(text, known) is not known:
                    same_port[text] = max(same_port[text], known, key=_credibility)
    return KnownEndpoints(
        by_port={port: _sorted_by_text(known) for port, known in by_port.items() if known},
        ready_here=len(ready_here),
        slices=tuple(names),
        notes=tuple(notes),
    )


def usable_endpoints(known: tuple[KnownEndpoint, ...], view: NodeView) -> Usable:
    """Of one Service port's endpoints, those that may be used from this node."""
    ready = [endpoint for endpoint in known if endpoint.ready]
    topology = _topology(ready, view)
    others = () if len(ready) == len(known) else known
    draining = [endpoint for endpoint in others if endpoint.serving and endpoint.terminating and not endpoint.ready]
    cluster = _narrow(ready, topology, view) if ready else draining
    ready_local = [endpoint for endpoint in ready if endpoint.backend.local]
    local = ready_local or [endpoint for endpoint in draining if endpoint.backend.local]
    backends = tuple([endpoint.backend for endpoint in cluster])
    return Usable(
        cluster=backends,
        local=backends if local == cluster else tuple([endpoint.backend for endpoint in local]),
        topology=topology,
        cluster_terminating=bool(cluster) and not ready,
        local_terminating=bool(local) and not ready_local,
        known=len(known),
    )


def still_answering(known: tuple[KnownEndpoint, ...], usable: Usable) -> tuple[Backend, ...]:
    """Endpoints that are not `usable` for new flows from this node and yet serve those they have.

    They terminate while others are ready, or are meant for other zones or nodes.
    """
    if len(usable.cluster) == len(known):
        return ()
    chosen = {*usable.cluster, *usable.local}
    return tuple([each.backend for each in known if (each.ready or each.serving) and each.backend not in chosen])


def _topology(ready: list[KnownEndpoint], view: NodeView) -> Topology:
    """Hints count only where every ready endpoint has them and one is meant for here, so that none is left alone."""
    if not ready or not (ready[0].for_nodes or ready[0].for_zones):
        return Topology.ANY
    if all(endpoint.for_nodes for endpoint in ready) and any(view.name in endpoint.for_nodes for endpoint in ready):
        return Topology.SAME_NODE
    hinted = bool(view.zone) and all(endpoint.for_zones for endpoint in ready)
    return Topology.SAME_ZONE if hinted and any(view.zone in endpoint.for_zones for endpoint in ready) else Topology.ANY


def _narrow(ready: list[KnownEndpoint], topology: Topology, view: NodeView) -> list[KnownEndpoint]:
    match topology:
        case Topology.SAME_NODE:
            return [endpoint for endpoint in ready if view.name in endpoint.for_nodes]
        case Topology.SAME_ZONE:
            return [endpoint for endpoint in ready if view.zone in endpoint.for_zones]
        case Topology.ANY:
            return ready


def _known(endpoint: Endpoint, backend: Backend) -> KnownEndpoint:
    hints = endpoint.hints
    return KnownEndpoint(
        backend=backend,
        ready=endpoint.ready,
        serving=endpoint.serving,
        terminating=endpoint.terminating,
        for_zones=_names(hints.for_zones) if hints.for_zones else _NOBODY,
        for_nodes=_names(hints.for_nodes) if hints.for_nodes else _NOBODY,
    )


def _names(hints: tuple[TopologyHint, ...]) -> frozenset[str]:
    return frozenset([hint.name for hint in hints])


def _credibility(known: KnownEndpoint) -> tuple[bool, bool, bool, bool]:
    """Of two with the same address and port the greater one is believed, the first where neither is."""
    return (not known.terminating, known.ready, known.serving, known.backend.local)


def _sorted_by_text(known: dict[str, KnownEndpoint]) -> tuple[KnownEndpoint, ...]:
    return tuple([known[text] for text in sorted(known)])


def _name_of(endpoint_slice: EndpointSlice) -> str:
    return endpoint_slice.metadata.name


def _is_of_family(endpoint_slice: EndpointSlice, view: NodeView, notes: list[Note]) -> bool:
    if endpoint_slice.address_type is AddressType.FQDN:
        message = "its endpoints are names, and packets can only be sent on to addresses; it is left out"
        notes.append(Note(origin=_of(endpoint_slice, "addressType", "FQDN"), message=message))
    return endpoint_slice.address_type == view.family.api_name


def _unusable(endpoint_slice: EndpointSlice, index: int, error: Exception) -> Note:
    field = f"endpoints[{index}].addresses[0]"
    addresses = endpoint_slice.endpoints[index].addresses
    if not addresses:
        return Note(origin=_of(endpoint_slice, field), message="the endpoint has no address; it is left out")
    return Note(origin=_of(endpoint_slice, field, addresses[0]), message=f"{error}; it is left out")


def _refuse_special(host: str) -> None:
    """What the API refuses in a slice (`ValidateEndpointIP`), and multicast of every range; old slices may hold it.

    Such an address is none of the endpoint's own: on its way there the packet would meet the node itself, or what is
    beside it.
    """
    found = special(parse_address(host))
    if found is not None:
        raise Refused(f"{host!r} is {found}, and no endpoint's own")


def _of(endpoint_slice: EndpointSlice, field: str, value: str = "") -> Origin:
    metadata = endpoint_slice.metadata
    return Origin(kind="EndpointSlice", namespace=metadata.namespace, name=metadata.name, field=field, value=value)
