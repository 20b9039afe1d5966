"""Who and what is meant: senders and destinations as a person writes them. Pure.

--from  172.18.0.100   mypc   outside   pod/NAME   NAMESPACE/NAME   NODE
--to    10.200.1.60:9000   [fd00::1]:80/udp   NODE:30080   svc/NAME[:PORT]   svc/NAMESPACE/NAME[:PORT]   POD:PORT
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fairway.api.core import NONE, Service, ServicePort, ServiceType
from fairway.api.manifest import DEFAULT_NAMESPACE
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, format_host, parse_address
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.flow.packet import Protocol
from fairway.trace.journey import Asker, AskerKind
from fairway.trace.matrix import OUTSIDER
from fairway.trace.places import Places, PodPlace, of_family
from fairway.trace.scene import Scene

OUTSIDE = "outside"
"""Names somebody of whom nothing is known but that they are no part of the cluster."""

_LISTED = 8
"""Names that an error lists at most."""

_SERVICE_PREFIX = re.compile(r"(?:svc|service|services)/(.+)", re.DOTALL)
_POD_PREFIX = re.compile(r"(?:po|pod|pods)/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends, before it is known in which family. addresses: of both, the primary one first."""

    name: str
    kind: AskerKind
    node: str
    addresses: tuple[IPAddress, ...]
    literal: bool = False
    """It was given as an address."""

    def asker(self, family: Family) -> Asker:
        """Raises Refused where it has no address of the family."""
        address = of_family(self.addresses, family)
        if address is None:
            raise Refused(f"--from {self.name}: it has no address of {family.api_name}")
        return Asker(name=self.name, kind=self.kind, node=self.node, address=address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where it is sent, before the family is known. text: as it was written."""

    text: str
    addresses: tuple[IPAddress, ...]
    port: int
    protocol: Protocol


def parse_sender(text: str, scene: Scene, *, flag: str = "--from") -> Sender:
    """Raises Refused, with what is near and what there is, for a name that nobody has."""
    places = scene.places
    address = _as_address(text)
    if address is not None:
        return _sender_at(address, scene)
    if text in places.clients:
        return Sender(name=text, kind=AskerKind.OUTSIDE, node="", addresses=places.clients[text])
    if text in places.nodes:
        return _node_sender(text, places, flag)
    named = _POD_PREFIX.fullmatch(text)
    pod = _find_pod(named[1] if named else text, places)
    if pod is not None:
        return _pod_sender(pod, flag)
    if text == OUTSIDE:
        return Sender(name=OUTSIDE, kind=AskerKind.OUTSIDE, node="", addresses=tuple(OUTSIDER.values()))
    if _SERVICE_PREFIX.fullmatch(text):
        raise Refused(f"{flag} {text}: a Service sends nothing itself; name one of its pods, as pod/NAME")
    raise Refused(f"{flag} {one_line(text)}: {_nobody(text, places, is_pod=named is not None)}")


def parse_target(text: str, scene: Scene, *, flag: str = "--to") -> Target:
    """Raises Refused, naming the part that is wrong, what is near and what there is."""
    whole, slash, last = text.rpartition("/")
    protocol: Protocol | None = None
    if slash and last.lower() in tuple(Protocol):
        text, protocol = whole, Protocol(last.lower())
    elif slash and re.search(r":\d+$", whole) and not _SERVICE_PREFIX.fullmatch(text):
        raise Refused(f"{flag} {text}: {one_line(last)} is no protocol; those of Services are tcp, udp and sctp")
    where = f"{flag} {one_line(text)}"
    named = _SERVICE_PREFIX.fullmatch(text)
    if named:
        return _service_target(named[1], text, protocol, scene, where)
    host, port_text = _split_port(text, where)
    addresses = _hosts(host, port_text, scene, where)
    port = parse_port(port_text, where)
    return Target(text=text, addresses=addresses, port=port, protocol=protocol or Protocol.TCP)


def parse_port(text: str, where: str) -> int:
    """Raises Refused for what is no port."""
    if not (text.isascii() and text.isdigit()):
        raise Refused(f"{where}: {one_line(text)!r} is no port; give its number, from 1 to 65535")
    port = int(text)
    if not 1 <= port <= 65535:
        raise Refused(f"{where}: there is no port {port}; ports are from 1 to 65535")
    return port


def find_service(text: str, scene: Scene, where: str) -> Service:
    """A Service by NAME or NAMESPACE/NAME, with or without svc/ before. Raises Refused, with what is near."""
    named = _SERVICE_PREFIX.fullmatch(text)
    name = named[1] if named else text
    namespace, slash, rest = name.partition("/")
    key = Key(namespace, rest) if slash else Key(DEFAULT_NAMESPACE, name)
    found = [each for each in scene.view.services if each.metadata.key == key]
    if not found and not slash:
        found = [each for each in scene.view.services if each.metadata.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            f"{where}: several namespaces have it; say {_either(f'svc/{each.metadata.key}' for each in found)}"
        )
    there = [str(each.metadata.key) for each in scene.view.services]
    raise Refused(f"{where}: there is no Service {one_line(str(key))}; {_near(str(key), there, 'the Services are')}")


def join_host_port(address: IPAddress, port: int, protocol: Protocol) -> str:
    """`172.18.0.3:31303/tcp`."""
    return f"{format_host(address)}:{port}/{protocol}"


# Senders


def _sender_at(address: IPAddress, scene: Scene) -> Sender:
    places = scene.places
    pod, node = places.pod_at(address), places.node_at(address)
    kind, runs_on = AskerKind.OUTSIDE, ""
    if pod is not None:
        kind, runs_on = AskerKind.POD, pod.node
    elif node:
        kind, runs_on = AskerKind.NODE, node
    elif places.runs_on(address) or scene.is_pod_network(address):
        kind, runs_on = AskerKind.POD, places.runs_on(address)
    return Sender(name=str(address), kind=kind, node=runs_on, addresses=(address,), literal=True)


def _node_sender(name: str, places: Places, flag: str) -> Sender:
    if not places.nodes[name]:
        raise Refused(f"{flag} {name}: the Node has no InternalIP; give an address of it")
    return Sender(name=name, kind=AskerKind.NODE, node=name, addresses=places.nodes[name])


def _pod_sender(pod: PodPlace, flag: str) -> Sender:
    name = f"pod {pod.key}"
    if not pod.addresses:
        raise Refused(f"{flag} {pod.key}: the pod has no address yet")
    kind = AskerKind.NODE if pod.host_network else AskerKind.POD
    return Sender(name=name, kind=kind, node=pod.node, addresses=pod.addresses)


def _find_pod(text: str, places: Places) -> PodPlace | None:
    namespace, slash, name = text.partition("/")
    if slash:
        return places.pods.get(Key(namespace, name.removeprefix("pod/")))
    found = [pod for key, pod in places.pods.items() if key.name == text]
    if len(found) > 1:
        at_home = [pod for pod in found if pod.key.namespace == DEFAULT_NAMESPACE]
        if not at_home:
            choices = _either(f"pod/{pod.key}" for pod in found)
            raise Refused(f"several namespaces have a pod {text}; say {choices}")
        found = at_home
    return found[0] if found else None


def _nobody(text: str, places: Places, *, is_pod: bool) -> str:
    pods = [str(key) for key in places.pods]
    if is_pod:
        asked = text.partition("/")[2]
        key = asked if "/" in asked else f"{DEFAULT_NAMESPACE}/{asked}"
        return f"there is no such pod; {_near(key, pods, 'the pods are')}"
    there = [*places.clients, *places.nodes, *(f"pod/{key.name}" for key in places.pods)]
    way_out = f"give an IP address, or {OUTSIDE!r} for somebody outside"
    return f"nobody has that name; {_near(text, there, 'there are')}; else {way_out}"


# Targets


def _split_port(text: str, where: str) -> tuple[str, str]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text, re.DOTALL)
    if bracketed:
        if bracketed[2] is None:
            raise Refused(f"{where}: it has no port; write [{bracketed[1]}]:PORT")
        return bracketed[1], bracketed[2]
    if text.count(":") > 1:
        raise Refused(f"{where}: an IPv6 address stands in brackets before its port, as in [fd00::1]:80")
    host, colon, port = text.partition(":")
    if not colon or not port:
        raise Refused(f"{where}: it has no port; write {one_line(host)}:PORT, or svc/NAME for a Service")
    return host, port


def _hosts(host: str, port: str, scene: Scene, where: str) -> tuple[IPAddress, ...]:
    places = scene.places
    address = _as_address(host)
    if address is not None:
        return (address,)
    if host in places.clients:
        return places.clients[host]
    if places.nodes.get(host):
        return places.nodes[host]
    named = _POD_PREFIX.fullmatch(host)
    pod = _find_pod(named[1] if named else host, places)
    if pod is not None and pod.addresses:
        return pod.addresses
    services = [each for each in scene.view.services if each.metadata.name == host]
    if services:
        raise Refused(f"{where}: {host} is a Service; write svc/{host}:{one_line(port)}")
    if re.fullmatch(r"[\d.]+", host) or ":" in host:
        raise Refused(f"{where}: {one_line(host)!r} is an address of no family")
    there = [*places.nodes, *places.clients, *(f"pod/{key.name}" for key in places.pods)]
    services_there = [f"svc/{each.metadata.name}" for each in scene.view.services]
    near = _near(host, [*there, *services_there], "there are")
    raise Refused(f"{where}: nothing is named {one_line(host)}; {near}")


def _service_target(name: str, text: str, protocol: Protocol | None, scene: Scene, where: str) -> Target:
    name, _, port_text = name.partition(":")
    service = find_service(name, scene, where)
    spec = service.spec
    if spec.type is ServiceType.EXTERNAL_NAME:
        raise Refused(f"{where}: it is an ExternalName: an alias in DNS, which no packet is ever sent to")
    if service.is_headless:
        raise Refused(f"{where}: it is headless, so DNS answers with its pods' addresses; name a pod instead")
    texts = [each for each in (spec.cluster_ips or (spec.cluster_ip,)) if each not in ("", NONE)]
    addresses = tuple(address for each in texts if (address := _as_address(each)) is not None)
    if not addresses:
        raise Refused(f"{where}: it has no clusterIP yet; the API server allocates one when it stores a Service")
    port = _service_port(service, port_text, protocol, where)
    return Target(text=text, addresses=addresses, port=port.port, protocol=Protocol(port.protocol.lower()))


def _service_port(service: Service, text: str, protocol: Protocol | None, where: str) -> ServicePort:
    ports = [each for each in service.spec.ports if protocol is None or each.protocol == protocol.api_name]
    chosen = [each for each in ports if text in ("", each.name) or text == str(each.port)]
    if len(chosen) == 1 or (chosen and text):
        return chosen[0]
    listed = ", ".join(_port_text(each) for each in service.spec.ports) or "none"
    if not text:
        raise Refused(f"{where}: say which port, after a colon; its ports are: {listed}")
    if text.isdigit() and not 1 <= int(text) <= 65535:
        parse_port(text, where)
    for each in service.spec.ports:
        if text == str(each.node_port):
            raise Refused(f"{where}: {text} is its node port, which is open on nodes; write NODE:{text}")
    raise Refused(f"{where}: it has no port {one_line(text)}; its ports are: {listed}")


def _port_text(port: ServicePort) -> str:
    name = f"{one_line(port.name)} " if port.name else ""
    return f"{name}{port.port}/{port.protocol.lower()}"


# Words


def _as_address(text: str) -> IPAddress | None:
    if "/" in text:
        return None
    try:
        return parse_address(text.removeprefix("[").removesuffix("]"))
    except Refused:
        return None


def _near(text: str, names: Iterable[str], lead: str) -> str:
    there = list(dict.fromkeys(names))
    last = {name.rpartition("/")[2]: name for name in reversed(there)}  # a namespace they share makes none alike
    near = difflib.get_close_matches(text.rpartition("/")[2], last, n=1, cutoff=0.6)
    if near:
        return f"did you mean {one_line(last[near[0]])}?"
    if not there:
        return f"{lead}: none"
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"{lead}: {', '.join(one_line(each) for each in there[:_LISTED])}{more}"


def _either(choices: Iterable[str]) -> str:
    return " or ".join(one_line(each) for each in choices)
