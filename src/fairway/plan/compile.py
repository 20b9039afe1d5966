"""From Services and EndpointSlices to the Plan of one node.

Every policy is settled here. Each Service is compiled by itself, so that one changed slice recompiles one Service;
an Assembly joins them and sees to it that no two share a door.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf

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
from fairway.base.addresses import IPNetwork
from fairway.flow.packet import Protocol
from fairway.plan.assembly import assemble_plan
from fairway.plan.doors import FrontAddress, front_addresses, origin_of, source_ranges
from fairway.plan.endpoints import KnownEndpoints, read_slices, still_answering, usable_endpoints
from fairway.plan.model import (
    Affinity,
    Door,
    DoorKind,
    HealthCheck,
    Note,
    Origin,
    Plan,
    PortName,
    ServicePlan,
    ServicePort,
)
from fairway.plan.options import NodeView, Options, view_node
from fairway.plan.ways import Outcomes, external_ways, internal_ways, outcomes_of

_PROTOCOLS = {
    ApiProtocol.TCP: Protocol.TCP,
    ApiProtocol.UDP: Protocol.UDP,
    ApiProtocol.SCTP: Protocol.SCTP,
}

MAX_BACKENDS = 65_535
"""How many slots a door can have; a Service with more usable endpoints is a mistake, or made to exhaust the node."""


def compile_plan(services: Iterable[Service], slices: Iterable[EndpointSlice], node: Node, *, options: Options) -> Plan:
    """The Plan of `node` for all `services`; the order in which objects are given does not matter.

    Never raises for what an object says: what cannot be used is left out and becomes a Note.
    """
    view = view_node(node, options)
    by_service, notes = group_slices(slices)
    parts = (compile_service(service, by_service.get(service.metadata.key, ()), view) for service in services)
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
    proxy have no ports; nor has a Service without a clusterIP of the view's family, or with a port of
    more than MAX_BACKENDS usable endpoints.
    """
    notes: list[Note] = []
    fronts = front_addresses(service, view, notes) if is_programmed(service) else ()
    if not fronts:
        return ServicePlan(key=service.metadata.key, created_s=_created_s(service), notes=tuple(notes))
    known = read_slices(slices, view)
    allowed = source_ranges(service, fronts, view, notes)
    ports = [_compile_port(service, index, known, fronts, allowed, view) for index in range(len(service.spec.ports))]
    for index, port in enumerate(ports):
        if max(len(port.cluster), len(port.local)) > MAX_BACKENDS:
            notes.append(_too_many(service, index))
            return ServicePlan(key=service.metadata.key, created_s=_created_s(service), notes=(*notes, *known.notes))
    health_check = _health_check(service, known, notes)
    return ServicePlan(
        key=service.metadata.key,
        created_s=_created_s(service),
        ports=tuple(sorted(ports, key=_name_of)),
        health_check=health_check,
        notes=(*notes, *known.notes),
    )


def _created_s(service: Service) -> float:
    """Its age, as ServicePlan has it; a time that cannot be read is none."""
    text = service.metadata.creation_timestamp
    if not text:
        return inf
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return inf
    return (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()


def _too_many(service: Service, index: int) -> Note:
    message = (
        f"Service {service.metadata.key} has more usable endpoints at port {service.spec.ports[index].port} than the "
        f"{MAX_BACKENDS} that a door has slots for, so all of it is left out; spread them over several Services"
    )
    return Note(origin=origin_of(service, f"spec.ports[{index}]"), message=message, unprogrammed=True)


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
    of_port = known.by_port.get((port.name, port.protocol), ())
    usable = usable_endpoints(of_port, view)
    outcomes = outcomes_of(service, port, usable, known, view)
    namespace, name = service.metadata.key
    return ServicePort(
        name=PortName(namespace=namespace, service=name, port=port.name, protocol=_PROTOCOLS[port.protocol]),
        doors=tuple(_doors(service, index, outcomes, fronts, allowed, view)),
        cluster=usable.cluster,
        local=usable.local,
        affinity=_affinity(service),
        answering=still_answering(of_port, usable) if port.protocol is ApiProtocol.UDP else (),
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


def _name_of(port: ServicePort) -> PortName:
    return port.name
