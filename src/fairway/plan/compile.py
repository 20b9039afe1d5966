"""From Services and EndpointSlices to the Plan of one node.

Every policy is settled here. Each Service is compiled by itself, so that one changed slice recompiles one Service;
`assemble_plan` joins them and sees to it that no two share a door.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fairway.api.core import (
    SERVICE_PROXY_NAME_LABEL,
    ApiProtocol,
    Node,
    Service,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from fairway.api.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import IPAddress, IPNetwork
from fairway.flow.packet import Protocol
from fairway.plan.doors import FrontAddress, front_addresses, origin_of, source_ranges
from fairway.plan.endpoints import KnownEndpoints, read_slices, usable_endpoints
from fairway.plan.model import (
    Affinity,
    Door,
    DoorKind,
    HealthCheck,
    Note,
    Origin,
    Plan,
    PortName,
    ServicePort,
)
from fairway.plan.options import NodeView, Options, view_node
from fairway.plan.ways import Outcomes, external_ways, internal_ways, outcomes_of

_PROTOCOLS = {
    ApiProtocol.TCP: Protocol.TCP,
    ApiProtocol.UDP: Protocol.UDP,
    ApiProtocol.SCTP: Protocol.SCTP,
}

_DoorKey = tuple[IPAddress | None, Protocol, int]


class ServicePlan(Struct, frozen=True, kw_only=True, gc=False):
    """What the Plan says of one Service. ports: sorted by name, none where agents leave the Service alone."""

    key: Key
    ports: tuple[ServicePort, ...] = ()
    health_check: HealthCheck | None = None
    notes: tuple[Note, ...] = ()


def compile_plan(services: Iterable[Service], slices: Iterable[EndpointSlice], node: Node, *, options: Options) -> Plan:
    """The Plan of `node` for all `services`; the order in which objects are given does not matter.

    Never raises for what an object says: what cannot be used is left out and becomes a Note.
    """
    view = view_node(node, options)
    by_service, notes = group_slices(slices)
    parts = [compile_service(service, by_service.get(service.metadata.key, ()), view) for service in services]
    return assemble_plan(parts, view, notes=notes)


def group_slices(slices: Iterable[EndpointSlice]) -> tuple[dict[Key, list[EndpointSlice]], tuple[Note, ...]]:
    """The slices of each Service, by the Service's key, and a Note for each slice that names none."""
    by_service: dict[Key, list[EndpointSlice]] = defaultdict(list)
    notes = []
    for endpoint_slice in slices:
        namespace, name = endpoint_slice.metadata.key
        if endpoint_slice.service_name:
            by_service[Key(namespace, endpoint_slice.service_name)].append(endpoint_slice)
        else:
            origin = Origin(kind="EndpointSlice", namespace=namespace, name=name, field="metadata.labels")
            notes.append(Note(origin=origin, message=f"it has no label {SERVICE_NAME_LABEL}, so it serves no Service"))
    return by_service, tuple(notes)


def compile_service(service: Service, slices: Iterable[EndpointSlice], view: NodeView) -> ServicePlan:
    """What the Plan says of one Service.

    slices: those that name it (`group_slices`), of any family. Headless Services, ExternalName and those of another
    proxy have no ports; nor has a Service without a clusterIP of the view's family.
    """
    notes: list[Note] = []
    fronts = front_addresses(service, view, notes) if is_programmed(service) else ()
    if not fronts:
        return ServicePlan(key=service.metadata.key, notes=tuple(notes))
    known = read_slices(slices, view)
    allowed = source_ranges(service, fronts, view, notes)
    ports = [_compile_port(service, index, known, fronts, allowed, view) for index in range(len(service.spec.ports))]
    health_check = _health_check(service, known, notes)
    return ServicePlan(
        key=service.metadata.key,
        ports=tuple(sorted(ports, key=_name_of)),
        health_check=health_check,
        notes=(*notes, *known.notes),
    )


def assemble_plan(parts: Iterable[ServicePlan], view: NodeView, *, notes: Iterable[Note] = ()) -> Plan:
    """Join what was compiled of each Service, in the order of their names.

    Where two claim one door the first keeps it, for every data plane alike, and the other gets a Note: kube-proxy lets
    the order of its maps decide anew at each sync.
    """
    ports: list[ServicePort] = []
    health_checks: list[HealthCheck] = []
    all_notes = [*view.notes, *notes]
    owners: dict[_DoorKey, PortName] = {}
    for part in sorted(parts, key=lambda part: part.key):
        all_notes += part.notes
        ports += (_claim_doors(port, owners, all_notes) for port in part.ports)
        if part.health_check is not None:
            health_checks.append(part.health_check)
    return Plan(
        node=view.name,
        family=view.family,
        node_addresses=view.node_addresses,
        cluster_cidrs=view.cluster_cidrs,
        node_port_addresses=view.node_port_addresses,
        localhost_node_ports=view.localhost_node_ports,
        service_cidrs=view.service_cidrs,
        guards_cluster_ips=view.guards_cluster_ips,
        admits_health_checks=view.admits_health_checks,
        ports=tuple(ports),
        health_checks=tuple(health_checks),
        notes=tuple(sorted(all_notes, key=_note_order)),
    )


def is_programmed(service: Service) -> bool:
    """Whether agents serve it at all, as kube-proxy's selectors and `ShouldSkipService` have it."""
    return not (
        service.is_headless
        or service.spec.type is ServiceType.EXTERNAL_NAME
        or SERVICE_PROXY_NAME_LABEL in service.metadata.labels
    )


def _compile_port(
    service: Service,
    index: int,
    known: KnownEndpoints,
    fronts: Sequence[FrontAddress],
    allowed: tuple[IPNetwork, ...] | None,
    view: NodeView,
) -> ServicePort:
    port = service.spec.ports[index]
    usable = usable_endpoints(known.by_port.get((port.name, port.protocol), ()), view)
    outcomes = outcomes_of(service, port, usable, known, view)
    namespace, name = service.metadata.key
    return ServicePort(
        name=PortName(namespace=namespace, service=name, port=port.name, protocol=_PROTOCOLS[port.protocol]),
        doors=tuple(_doors(service, index, outcomes, fronts, allowed, view)),
        cluster=usable.cluster,
        local=usable.local,
        affinity=_affinity(service),
    )


def _doors(
    service: Service,
    index: int,
    outcomes: Outcomes,
    fronts: Sequence[FrontAddress],
    allowed: tuple[IPNetwork, ...] | None,
    view: NodeView,
) -> Iterator[Door]:
    port = service.spec.ports[index]
    protocol = _PROTOCOLS[port.protocol]
    internal = internal_ways(service, outcomes, view)
    external = external_ways(service, outcomes, view) if len(fronts) > 1 or port.node_port else internal
    for front in fronts:
        yield Door(
            kind=front.kind,
            address=front.address,
            protocol=protocol,
            port=port.port,
            ways=internal if front.kind is DoorKind.CLUSTER_IP else external,
            origin=front.origin,
            allowed_sources=allowed if front.kind is DoorKind.LOAD_BALANCER_IP else None,
        )
    if port.node_port:
        field = f"spec.ports[{index}].nodePort"
        reason = f"this is the node port of the Service's port {port.port}"
        yield Door(
            kind=DoorKind.NODE_PORT,
            address=None,
            protocol=protocol,
            port=port.node_port,
            ways=external,
            origin=origin_of(service, field, str(port.node_port), reason),
        )


def _affinity(service: Service) -> Affinity | None:
    if service.spec.session_affinity is not SessionAffinity.CLIENT_IP:
        return None
    return Affinity(timeout_s=service.spec.session_affinity_config.client_ip.timeout_seconds)


def _health_check(service: Service, known: KnownEndpoints, notes: list[Note]) -> HealthCheck | None:
    """Of a load balancer's Service with the external policy Local (`NeedsHealthCheck`); others have none."""
    spec = service.spec
    if spec.type is not ServiceType.LOAD_BALANCER or spec.external_traffic_policy is not TrafficPolicy.LOCAL:
        return None
    if not spec.health_check_node_port:
        message = "it has none, so load balancers cannot ask which nodes have endpoints; the API server allocates one"
        notes.append(Note(origin=origin_of(service, "spec.healthCheckNodePort"), message=message))
        return None
    namespace, name = service.metadata.key
    return HealthCheck(
        namespace=namespace, service=name, port=spec.health_check_node_port, local_endpoints=known.ready_here
    )


def _claim_doors(port: ServicePort, owners: dict[_DoorKey, PortName], notes: list[Note]) -> ServicePort:
    """The port with those of its doors that nobody claimed before; `owners` learns of them."""
    kept: list[Door] = []
    for door in port.doors:
        key = (door.address, door.protocol, door.port)
        owner = owners.get(key)
        if owner is None:
            owners[key] = port.name
            kept.append(door)
        else:
            place = f"{door.address or 'node port'} {door.port}/{door.protocol}"
            notes.append(Note(origin=door.origin, message=f"{place} is already {owner}'s, so it stays with that one"))
    return port if len(kept) == len(port.doors) else replace(port, doors=tuple(kept))


def _name_of(port: ServicePort) -> PortName:
    return port.name


def _note_order(note: Note) -> tuple[str, str, str, str, str]:
    origin = note.origin
    return origin.kind, origin.namespace, origin.name, origin.field, note.message
