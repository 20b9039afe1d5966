"""The addresses a Service is reached by in one family, and who may use them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from fairway.api.core import IPMode, Service
from fairway.base.addresses import Family, IPAddress, IPNetwork, Special, parse_address, parse_network, special
from fairway.base.errors import Refused
from fairway.plan.model import DoorKind, Note, Origin
from fairway.plan.options import NodeView


class FrontAddress(Struct, frozen=True, kw_only=True, gc=False):
    """An address of a Service: with each of its ports it makes a door."""

    kind: DoorKind
    address: IPAddress
    origin: Origin


def origin_of(service: Service, field: str, value: str = "", reason: str = "") -> Origin:
    """A field of a Service as the reason for something."""
    metadata = service.metadata
    return Origin(
        kind="Service", namespace=metadata.namespace, name=metadata.name, field=field, value=value, reason=reason
    )


def front_addresses(service: Service, view: NodeView, notes: list[Note]) -> tuple[FrontAddress, ...]:
    """The clusterIP, then externalIPs, then the load balancer's addresses, of the view's family.

    Empty where the Service has no clusterIP of that family: then it has no node port in it either. Appends a Note for
    each text that is no address. A load balancer's address with ipMode Proxy is none of ours, nor are externalIPs where
    the view does not serve them.
    """
    cluster_ip = _cluster_ip(service, view.family, notes)
    if cluster_ip is None:
        return ()
    fronts = {(DoorKind.CLUSTER_IP, cluster_ip.address): cluster_ip}
    for kind, origin in _external_texts(service, view):
        address = _parse(origin, notes)
        if address is not None and address.version == view.family and not _is_refused(kind, address, origin, notes):
            fronts.setdefault((kind, address), FrontAddress(kind=kind, address=address, origin=origin))
    if view.ranges_come_first:
        for _, address in [each for each in fronts if each[0] is DoorKind.LOAD_BALANCER_IP]:
            fronts.pop((DoorKind.EXTERNAL_IP, address), None)
    return tuple(fronts.values())


def source_ranges(
    service: Service, fronts: tuple[FrontAddress, ...], view: NodeView, notes: list[Note]
) -> tuple[IPNetwork, ...] | None:
    """Who may use the load balancer's addresses: None for everybody.

    Everybody may where no range is of this family, or one is /0. Where this node may, so may the addresses themselves:
    a node that holds one sends to it from it. A range that cannot be read admits nobody, and never everybody.
    """
    networks: dict[IPNetwork, None] = {}
    unreadable = False
    for index, text in enumerate(service.spec.load_balancer_source_ranges):
        try:
            network = parse_network(text)
        except Refused as error:
            origin = origin_of(service, f"spec.loadBalancerSourceRanges[{index}]", text)
            notes.append(Note(origin=origin, message=f"{error}; it admits nobody"))
            unreadable = True
            continue
        if network.version == view.family:
            networks[network] = None
    if any(network.prefixlen == 0 for network in networks) or not (networks or unreadable):
        return None
    if view.node_addresses and any(view.node_addresses[0] in network for network in networks):
        for front in fronts:
            if front.kind is DoorKind.LOAD_BALANCER_IP:
                networks[parse_network(f"{front.address}/{view.family.bits}")] = None
    return tuple(networks)


def _cluster_ip(service: Service, family: Family, notes: list[Note]) -> FrontAddress | None:
    spec = service.spec
    texts = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    if not texts:
        message = "it has no clusterIP, so it is not programmed; the API server allocates one when it stores a Service"
        notes.append(Note(origin=origin_of(service, "spec.clusterIP"), message=message))
    for index, text in enumerate(texts):
        field = f"spec.clusterIPs[{index}]" if index else "spec.clusterIP"
        origin = origin_of(service, field, text, "this is the Service's clusterIP")
        address = _parse(origin, notes)
        if address is not None and address.version == family:
            return FrontAddress(kind=DoorKind.CLUSTER_IP, address=address, origin=origin)
    return None


def _external_texts(service: Service, view: NodeView) -> Iterator[tuple[DoorKind, Origin]]:
    for index, text in enumerate(service.spec.external_ips if view.external_ips else ()):
        reason = "this is one of the Service's externalIPs"
        yield DoorKind.EXTERNAL_IP, origin_of(service, f"spec.externalIPs[{index}]", text, reason)
    for index, ingress in enumerate(service.status.load_balancer.ingress):
        if ingress.ip and ingress.ip_mode is IPMode.VIP:
            field = f"status.loadBalancer.ingress[{index}].ip"
            reason = "every node serves the load balancer's address itself (ipMode VIP)"
            yield DoorKind.LOAD_BALANCER_IP, origin_of(service, field, ingress.ip, reason)


def _is_refused(kind: DoorKind, address: IPAddress, origin: Origin, notes: list[Note]) -> bool:
    """Whether the API refuses it in new Services; old ones may hold it. It lets a load balancer have any address."""
    found = special(address) if kind is DoorKind.EXTERNAL_IP else None
    if found is None or found is Special.MULTICAST:
        return False
    message = f"{origin.value!r} is {found}, where no address can be a Service's; it is left out"
    notes.append(Note(origin=origin, message=message))
    return True


def _parse(origin: Origin, notes: list[Note]) -> IPAddress | None:
    try:
        return parse_address(origin.value)
    except Refused as error:
        notes.append(Note(origin=origin, message=f"{error}; it is left out"))
        return None
