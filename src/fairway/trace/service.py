"""One Service as a whole: what it is, and who meets what by which of its doors. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from fairway.api.core import Service, ServicePort, ServiceType, SessionAffinity
from fairway.api.discovery import Endpoint
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, IPNetwork, parse_network
from fairway.base.errors import Refused
from fairway.plan.compile import is_programmed
from fairway.plan.evaluate import Evaluator
from fairway.trace.journey import PodSource
from fairway.trace.matrix import OUTSIDER, Cell, Entry, askers, cells, entries
from fairway.trace.names import OUTSIDE
from fairway.trace.outcome import duration
from fairway.trace.scene import Scene


def service_cells(key: Key, scene: Scene, family: Family | None, pod_source: PodSource) -> tuple[Cell, ...]:
    """Every sender at every door, in each family that the Service has doors in, or in the one that is asked for.

    Raises Refused, with the reason, for a Service that has no doors.
    """
    found: list[Cell] = []
    for each in Family:
        if family not in (None, each):
            continue
        evaluators = scene.about(scene.rivals(key), each)
        doors = entries(key, evaluators)
        if doors:
            clients = _outsiders(scene.service(key), each, scene.places.clients)
            who = askers(scene.view, evaluators, clients, avoid=_own_endpoints(doors, evaluators))
            found += cells(who, doors, evaluators, pod_source=pod_source)
    if not found:
        raise Refused(f"Service {key}: {_why_no_doors(scene.service(key), scene, family)}")
    return tuple(found)


def _own_endpoints(doors: Iterable[Entry], evaluators: Mapping[str, Evaluator]) -> frozenset[IPAddress]:
    """The endpoints behind these doors: one that calls its own Service may meet itself, as no other pod does."""
    names = {door.service_port for door in doors}
    return frozenset(
        backend.address
        for evaluator in evaluators.values()
        for port in evaluator.plan.ports
        if str(port.name) in names
        for backend in (*port.cluster, *port.local)
    )


def summary_of(service: Service, scene: Scene) -> tuple[str, ...]:
    """What decides, a clause each: type and ports, policies, endpoints."""
    spec = service.spec
    ports = "; ".join(_port_words(port) for port in service.spec.ports)
    policies = [f"internalTrafficPolicy {spec.internal_traffic_policy}"]
    if service.is_externally_reachable:
        policies.insert(0, f"externalTrafficPolicy {spec.external_traffic_policy}")
    if spec.load_balancer_source_ranges:
        policies.append(f"loadBalancerSourceRanges {', '.join(spec.load_balancer_source_ranges)}")
    if spec.session_affinity is SessionAffinity.CLIENT_IP:
        timeout = duration(spec.session_affinity_config.client_ip.timeout_seconds)
        policies.append(
            f"sessionAffinity ClientIP, so a client stays with the endpoint it met until it has opened no connection "
            f"for {timeout}"
        )
    return (f"{spec.type}: {ports}", ", ".join(policies), _endpoint_words(service, scene))


def _port_words(port: ServicePort) -> str:
    name = f"port {port.name} " if port.name else "port "
    node_port = f", node port {port.node_port}" if port.node_port else ""
    return f"{name}{port.port}/{port.protocol.lower()}{node_port}"


def _endpoint_words(service: Service, scene: Scene) -> str:
    """Of each family, where it has endpoints of both."""
    by_type: dict[str, list[Endpoint]] = defaultdict(list)
    for kind, endpoint in _endpoints(service, scene):
        by_type[kind].append(endpoint)
    if not by_type:
        return "No endpoints"
    told = {kind: _count_words(endpoints) for kind, endpoints in sorted(by_type.items())}
    return (
        next(iter(told.values())) if len(told) == 1 else "; ".join(f"{kind}: {words}" for kind, words in told.items())
    )


def _count_words(endpoints: list[Endpoint]) -> str:
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    draining = sum(1 for each in endpoints if each.serving and each.terminating and not each.ready)
    by_node = Counter(endpoint.node_name or "no node" for endpoint in ready)
    where = ", ".join(f"{node} {count}" for node, count in sorted(by_node.items()))
    words = f"{len(ready)} of {len(endpoints)} endpoints ready"
    if draining:
        words += f", {draining} terminating but serving"
    return f"{words}: {where}" if where else words


def _endpoints(service: Service, scene: Scene) -> Iterator[tuple[str, Endpoint]]:
    """Each address once, whatever the number of slices and ports, with its type."""
    seen: set[str] = set()
    for each in scene.view.slices:
        if Key(each.metadata.namespace, each.service_name) != service.metadata.key:
            continue
        for endpoint in each.endpoints:
            if endpoint.addresses and endpoint.addresses[0] not in seen:
                seen.add(endpoint.addresses[0])
                yield each.address_type.value, endpoint


def _outsiders(
    service: Service, family: Family, clients: Mapping[str, tuple[IPAddress, ...]]
) -> dict[str, tuple[IPAddress, ...]]:
    """Who is known outside, or somebody; beside them, where the load balancer asks for the source, one it admits."""
    found = dict(clients) or {OUTSIDE: (OUTSIDER[family],)}
    networks = [network for network in _networks(service.spec.load_balancer_source_ranges) if network.version == family]
    theirs = [address for addresses in found.values() for address in addresses if address.version == family]
    if networks and not any(address in network for address in theirs for network in networks):
        network = networks[0]
        host = network[1] if network.num_addresses > 1 else network[0]
        found[f"{OUTSIDE}, in {network}"] = (host,)
    return found


def _networks(texts: Iterable[str]) -> Iterator[IPNetwork]:
    for text in texts:
        try:
            yield parse_network(text)
        except Refused:
            continue


def _why_no_doors(service: Service, scene: Scene, family: Family | None) -> str:
    if service.spec.type is ServiceType.EXTERNAL_NAME:
        return "it is an ExternalName: an alias in DNS, which no packet is ever sent to"
    if service.is_headless:
        return "it is headless: DNS answers with its pods' addresses, and no rule has a part in it"
    if not is_programmed(service):
        return "its label service.kubernetes.io/service-proxy-name leaves it to another proxy"
    if not scene.node_names:
        return "there are no Nodes among the objects, and rules are a node's; add them"
    where = f" of {family.api_name}" if family else ""
    return f"it has no clusterIP{where}, so it is not programmed; the API server allocates one when it stores a Service"
