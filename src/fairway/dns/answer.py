"""What a question is answered: Kubernetes DNS-Based Service Discovery 1.1.0, as CoreDNS serves it. Pure.

Facts: kubernetes/dns `docs/specification.md`; where it leaves room, CoreDNS `plugin/kubernetes` (a headless Service
without a ready endpoint is no name, weights, the label of an endpoint without a hostname). Negative answers: RFC 2308.
Names outside the cluster's zone are machines and addresses; everything else is refused, and nobody is asked about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address

import dns.exception
import dns.name
import dns.rdata
import dns.reversename
import dns.rrset
from dns.name import Name
from dns.rcode import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, Rcode
from dns.rdata import Rdata
from dns.rdataclass import IN
from dns.rdatatype import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, RdataType
from dns.rrset import RRset

from fairway.api.types import Key
from fairway.base.addresses import IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.dns.catalog import Catalog
from fairway.dns.objects import EndpointName, Port, ServiceNames

SPECIFICATION = "1.1.0"
"""Of `dns-version.<zone>` (2.2 Record for Schema Version)."""

TTL_S = 5
"""CoreDNS `plugin/kubernetes` defaultTTL."""

_SOA_TIMES = "7200 1800 86400 5"
"""Refresh, retry, expire and how long a negative answer is kept (CoreDNS `plugin/backend_lookup.go`, SOA)."""

_SHARE_OF_WEIGHT = 100
"""Of all targets of a service's SRV records together (CoreDNS `plugin/backend_lookup.go`)."""

_MAX_ALIASES = 8
"""As CoreDNS follows them (`plugin/pkg/upstream` and `plugin/backend_lookup.go`)."""

_REVERSE = {dns.reversename.ipv4_reverse_domain: 4, dns.reversename.ipv6_reverse_domain: 32}
"""The zones of addresses, and how many labels of theirs make one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Of class IN. name: absolute, in any case."""

    name: Name
    type: RdataType


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The sections of a response. authoritative: the names are ours to tell of."""

    rcode: Rcode
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    authoritative: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """Whose names are served.

    domain: the cluster's. server: this server's own name in it. machines: those outside it, by name in lower case.
    """

    domain: Name
    server: Name
    machines: Mapping[Name, tuple[IPAddress, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that an answer depends on."""

    zone: Zone
    catalog: Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is at a name that exists, which may be nothing. targets: of its SRV records, with their addresses."""

    records: Mapping[RdataType, tuple[Rdata, ...]] = field(default_factory=dict)
    targets: Mapping[Name, tuple[IPAddress, ...]] = field(default_factory=dict)


_NOTHING = _Found()


def answer(question: Question, view: View) -> Answer:
    """Follow aliases as far as they stay among the names that are served."""
    told: list[RRset] = []
    name = question.name
    for _ in range(_MAX_ALIASES):
        apex = _apex(name, view.zone)
        if apex is None:
            # An alias that leaves the cluster is told, and not followed: whoever asks may know somebody to ask.
            return Answer(rcode=NOERROR, answer=tuple(told)) if told else Answer(rcode=REFUSED, authoritative=False)
        found = _find(name.canonicalize(), view)
        if found is None or not found.records.keys() & {question.type, CNAME}:
            rcode = NXDOMAIN if found is None else NOERROR
            return Answer(rcode=rcode, answer=tuple(told), authority=_soa(apex, view))
        if question.type in found.records:
            told.append(_rrset(name, found.records[question.type]))
            additional = _glue(found.targets) if question.type is SRV else ()
            return Answer(rcode=NOERROR, answer=tuple(told), additional=additional)
        told.append(_rrset(name, found.records[CNAME]))
        name = told[-1][0].target
    return Answer(rcode=SERVFAIL)


def _apex(name: Name, zone: Zone) -> Name | None:
    """The zone a name is in; a machine's is its own. None for a name that is not served."""
    zones = (zone.domain, *_REVERSE)
    if (machine := name.canonicalize()) in zone.machines:
        return machine
    return next((each for each in zones if name.is_subdomain(each)), None)


def _find(name: Name, view: View) -> _Found | None:
    """What is at a name in canonical form that is served; None if there is no such name (NXDOMAIN)."""
    if name in view.zone.machines:
        return _Found(records=_addresses(view.zone.machines[name]))
    for apex in _REVERSE:
        if name.is_subdomain(apex):
            return _reverse(name, apex, view)
    return _in_zone(_labels(name, view.zone.domain), view)


def _labels(name: Name, apex: Name) -> list[str]:
    """The labels below an apex, the nearest first; what is not ASCII is like no label there is."""
    return [label.decode("ascii", "replace") for label in reversed(name.relativize(apex).labels)]


def _in_zone(labels: Sequence[str], view: View) -> _Found | None:
    catalog = view.catalog
    match labels:
        case []:
            records = {SOA: (_soa_record(view.zone.domain, view),), NS: (_rdata(NS, view.zone.server.to_text()),)}
            return _Found(records=records)
        case ["dns-version"]:
            return _Found(records={TXT: (_rdata(TXT, f'"{SPECIFICATION}"'),)})
        case ["svc"]:
            return _NOTHING
        case ["svc", namespace]:
            return _NOTHING if catalog.has_namespace(namespace) else None
        case ["svc", namespace, name, *rest]:
            service = catalog.service(namespace, name)
            return None if service is None else _of_service(service, rest, view)
    return None


def _of_service(service: ServiceNames, labels: Sequence[str], view: View) -> _Found | None:
    if service.external_name:
        return None if labels else _Found(records={CNAME: (_rdata(CNAME, f"{service.external_name.rstrip('.')}."),)})
    apex = dns.name.from_text(f"{service.key.name}.{service.key.namespace}.svc", view.zone.domain)
    targets, offers = _offers(service, apex, view.catalog)
    match labels:
        case []:
            if not targets and service.headless:
                return None
            own = [each for every in targets.values() for each in every] if service.headless else service.addresses
            return _Found(records=_addresses(own) | _srv(offers), targets=targets)
        case [protocol] if protocol.startswith("_"):
            return _NOTHING if any(_protocol(port) == protocol for _, port in offers if port.name) else None
        case [protocol, port_name] if protocol.startswith("_"):
            wanted = [(t, p) for t, p in offers if p.name and (_protocol(p), f"_{p.name}") == (protocol, port_name)]
            return _Found(records=_srv(wanted), targets={t: targets[t] for t, _ in wanted}) if wanted else None
        case [label]:
            at = [each.address for each in _endpoints(service, view.catalog) if each.label == label]
            return _Found(records=_addresses(at)) if at else None
    return None


def _offers(
    service: ServiceNames, apex: Name, catalog: Catalog
) -> tuple[dict[Name, tuple[IPAddress, ...]], list[tuple[Name, Port]]]:
    """The hosts a Service leads to, with their addresses, and which port each of them serves."""
    if not service.headless:
        return {apex: service.addresses}, [(apex, port) for port in service.ports]
    hosts: dict[Name, tuple[IPAddress, ...]] = {}
    offers: dict[tuple[Name, Port], None] = {}
    for each in catalog.slices(service.key):
        for endpoint in each.endpoints:
            name = dns.name.from_text(endpoint.label, apex)
            hosts[name] = tuple(dict.fromkeys((*hosts.get(name, ()), endpoint.address)))
            offers |= {(name, port): None for port in each.ports if port.port}
    return hosts, list(offers)


def _endpoints(service: ServiceNames, catalog: Catalog) -> Iterable[EndpointName]:
    return (endpoint for each in catalog.slices(service.key) for endpoint in each.endpoints)


def _protocol(port: Port) -> str:
    return f"_{port.protocol.lower()}"


def _srv(offers: Sequence[tuple[Name, Port]]) -> dict[RdataType, tuple[Rdata, ...]]:
    weight = max(1, _SHARE_OF_WEIGHT // len(offers)) if offers else 0
    records = tuple(_rdata(SRV, f"0 {weight} {port.port} {target}") for target, port in offers)
    return {SRV: records} if records else {}


def _reverse(name: Name, apex: Name, view: View) -> _Found | None:
    """Names of an address: Services, else endpoints of headless ones, else machines."""
    if len(_labels(name, apex)) < _REVERSE[apex]:
        return _NOTHING
    try:
        address = parse_address(dns.reversename.to_address(name))
    except (dns.exception.DNSException, ValueError, Refused):
        return None
    names = (
        [_under(view, key.name, key) for key in view.catalog.services_at(address)]
        or [_under(view, f"{at.label}.{key.name}", key) for key, at in view.catalog.headless_endpoints_at(address)]
        or [machine.to_text() for machine, addresses in view.zone.machines.items() if address in addresses]
    )
    return _Found(records={PTR: tuple(_rdata(PTR, each) for each in dict.fromkeys(names))}) if names else None


def _under(view: View, host: str, service: Key) -> str:
    return f"{host}.{service.namespace}.svc.{view.zone.domain}"


def _addresses(addresses: Iterable[IPAddress]) -> dict[RdataType, tuple[Rdata, ...]]:
    records: dict[RdataType, tuple[Rdata, ...]] = {}
    for address in dict.fromkeys(addresses):
        kind = AAAA if isinstance(address, IPv6Address) else A
        records[kind] = (*records.get(kind, ()), _rdata(kind, str(address)))
    return records


def _glue(targets: Mapping[Name, tuple[IPAddress, ...]]) -> tuple[RRset, ...]:
    return tuple(
        _rrset(name, records) for name, addresses in targets.items() for records in _addresses(addresses).values()
    )


def _soa(apex: Name, view: View) -> tuple[RRset, ...]:
    """For the authority section of a negative answer."""
    return (_rrset(apex, (_soa_record(apex, view),)),)


def _soa_record(apex: Name, view: View) -> Rdata:
    serial = view.catalog.serial % (1 << 32)
    return _rdata(SOA, f"{view.zone.server} hostmaster.{view.zone.domain} {serial} {_SOA_TIMES}")


def _rdata(kind: RdataType, text: str) -> Rdata:
    return dns.rdata.from_text(IN, kind, text)


def _rrset(name: Name, records: Collection[Rdata]) -> RRset:
    return dns.rrset.from_rdata_list(name, TTL_S, records)
