"""Nodes and Services in mode nftables, by the address plan of tests/plan/objects.py; its IPv6 twin is in fd00::/16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.dataplane.nft.book import Book, Change
from fairway.dataplane.nft.chains import Settings
from fairway.dataplane.nft.diff import Delta
from fairway.dataplane.nft.lower import NOTHING, Share, join, lower_service
from fairway.dataplane.nft.ruleset import Ruleset, SetSpec
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.options import Mode, Options, parse_options, view_node
from tests.plan.objects import (
    CLUSTER_IP,
    HERE,
    LOCAL_AND_REMOTE,
    REMOTE_ONLY,
    THERE,
    endpoint,
    endpoint_slice,
    every_door,
    node,
    service,
)

KEY = "default/web"
CLUSTER_IP6 = "fd00:200::5"
NODE6 = node("fd00:18::5")
SLICE6 = endpoint_slice(endpoint("fd00:10:0:1::3", HERE), endpoint("fd00:10:0:2::3", THERE), addressType="IPv6")


def options(**fields: Any) -> Options:
    given = {"cluster_cidrs": ["10.10.0.0/16", "fd00:10::/48"], "mode": Mode.NFTABLES, **fields}
    return parse_options(**given)


OPTIONS = options()
BY_BRIDGE = options(detect_local_mode="BridgeInterface", bridge_interface="cni0")
BY_PREFIX = options(detect_local_mode="InterfaceNamePrefix", interface_name_prefix="veth")
OPTIONS6 = options(family=Family.IPV6)


def assembly(
    services: Service | Iterable[Service],
    *slices: EndpointSlice,
    options: Options = OPTIONS,
    on: Node | None = None,
) -> Assembly:
    """What the backend is given."""
    several = [services] if isinstance(services, Service) else list(services)
    whole = Assembly(view_node(on if on is not None else node(), options))
    by_service, _ = group_slices(slices)
    for each in several:
        whole.put(compile_service(each, by_service.get(each.metadata.key, ()), whole.view))
    return whole


def shares(whole: Assembly) -> dict[Any, Share]:
    return {key: lower_service(part.ports, whole.view) for key, part in whole.parts.items()}


def ruleset_of(whole: Assembly) -> Ruleset:
    return join(whole.view, shares(whole).values())


def share(one: Service, *slices: EndpointSlice, options: Options = OPTIONS, on: Node | None = None) -> Share:
    """Of the only Service."""
    (only,) = shares(assembly(one, *slices, options=options, on=on)).values()
    return only


def service6(**spec: Any) -> Service:
    """A Service of the IPv6 address plan with all kinds of doors."""
    return every_door(
        **{
            "clusterIP": CLUSTER_IP6,
            "clusterIPs": [CLUSTER_IP6],
            "ipFamilies": ["IPv6"],
            "externalIPs": ["2001:db8::1"],
            **spec,
        }
    )


AFFINITY: Mapping[str, Any] = {"sessionAffinity": "ClientIP"}
UDP_AND_SCTP = [{"port": 53, "protocol": "UDP"}, {"name": "s", "port": 5, "protocol": "SCTP"}]
LOCAL: Mapping[str, Any] = {"externalTrafficPolicy": "Local"}


def many_endpoints(count: int, first: int = 11, *, port: int = 8080) -> EndpointSlice:
    pods = [endpoint(f"10.10.2.{number}", THERE) for number in range(first, first + count)]
    return endpoint_slice(*pods, ports=[{"port": port}])


def long_names() -> tuple[Service, EndpointSlice]:
    """Longer than a comment may be."""
    name, namespace, port = "s" * 63, "n" * 63, "p" * 15
    one = service(name, namespace=namespace, **AFFINITY, ports=[{"name": port, "port": 80}])
    pods = [endpoint("10.10.1.3", HERE)]
    return one, endpoint_slice(*pods, of=name, namespace=namespace, ports=[{"name": port, "port": 8080}])


def scenarios() -> dict[str, Assembly]:
    """Every kind of element, rule and set, by what is special in it."""
    both = LOCAL_AND_REMOTE
    ranges = ["172.18.0.0/16", "172.18.1.0/24", "192.0.2.7/32", "0.0.0.0/1"]
    several = [
        service("web", clusterIP=CLUSTER_IP),
        service("udp", clusterIP="10.200.1.6", ports=UDP_AND_SCTP),
        service("none", clusterIP="10.200.1.7"),
    ]
    return {
        "nothing": assembly([]),
        "one clusterIP": assembly(service(), both),
        "several": assembly(several, both, endpoint_slice(endpoint("10.10.2.9", THERE), of="udp", ports=UDP_AND_SCTP)),
        "every door": assembly(every_door(), both),
        "no endpoints": assembly(every_door()),
        "guarded without endpoints": assembly(every_door(loadBalancerSourceRanges=ranges)),
        "source ranges": assembly(every_door(loadBalancerSourceRanges=ranges), both),
        "local": assembly(every_door(**LOCAL), both),
        "local without a local endpoint": assembly(every_door(**LOCAL), REMOTE_ONLY),
        "local and guarded": assembly(every_door(**LOCAL, loadBalancerSourceRanges=ranges), both),
        "internally local": assembly(service(internalTrafficPolicy="Local"), REMOTE_ONLY),
        "affinity": assembly(every_door(**AFFINITY), both),
        "affinity, local and guarded": assembly(every_door(**AFFINITY, **LOCAL, loadBalancerSourceRanges=ranges), both),
        "affinity for 90 s": assembly(
            every_door(**AFFINITY, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 90}}), both
        ),
        "affinity of long names": assembly(*long_names()),
        "node ports everywhere": assembly(every_door(), both, options=options(node_port_addresses=["0.0.0.0/0"])),
        "no pod network": assembly(every_door(), both, options=options(cluster_cidrs=[])),
        "odd networks": assembly(
            every_door(**LOCAL),
            both,
            options=options(
                cluster_cidrs=["10.10.0.0/15", "0.0.0.0/0", "10.10.1.0/24"], service_cidrs=["10.200.0.0/16"]
            ),
        ),
        "pods by their bridge": assembly(every_door(**LOCAL), both, options=BY_BRIDGE),
        "affinity, pods by their links": assembly(every_door(**AFFINITY, **LOCAL), both, options=BY_PREFIX),
        "masquerade all": assembly(every_door(), both, options=options(masquerade_all=True)),
        "a dozen endpoints": assembly(every_door(), many_endpoints(12)),
        "IPv6": assembly(service6(), SLICE6, options=OPTIONS6, on=NODE6),
        "IPv6, local and guarded": assembly(
            service6(**LOCAL, loadBalancerSourceRanges=["fd00:18::/64", "::/1"]), SLICE6, options=OPTIONS6, on=NODE6
        ),
        "IPv6 affinity": assembly(service6(**AFFINITY), SLICE6, options=OPTIONS6, on=NODE6),
        "IPv6 everywhere": assembly(
            service6(),
            SLICE6,
            options=options(
                family=Family.IPV6,
                node_port_addresses=["::/0"],
                cluster_cidrs=["fd00:10::/47", "::/0"],
                service_cidrs=["fd00:200::/112"],
            ),
            on=NODE6,
        ),
        "IPv6, pods by their links": assembly(
            service6(**LOCAL),
            SLICE6,
            options=options(
                family=Family.IPV6, detect_local_mode="InterfaceNamePrefix", interface_name_prefix="a-prefix_of.14"
            ),
            on=NODE6,
        ),
    }


class Held:
    """A Book, and beside it the shares that whoever changes a Service has to bring."""

    def __init__(self, settings: Settings, held: Mapping[Key, Share]) -> None:
        self.settings, self.shares = settings, dict(held)
        self.book = Book(settings, self.shares.values())

    def ruleset(self) -> Ruleset:
        return join(self.settings, self.shares.values())

    def specs(self, changes: Iterable[Share] = ()) -> dict[str, SetSpec]:
        return self.book.specs(changes)

    def delta(self, changes: Mapping[Key, Share | None]) -> Delta:
        return self.book.delta(self._changes(changes))

    def accept(self, changes: Mapping[Key, Share | None]) -> None:
        self.book.accept(self._changes(changes))
        for key, share in changes.items():
            self.shares.pop(key, None)
            if share is not None:
                self.shares[key] = share

    def _changes(self, changes: Mapping[Key, Share | None]) -> list[Change]:
        return [Change(self.shares.get(key, NOTHING), after or NOTHING) for key, after in changes.items()]
