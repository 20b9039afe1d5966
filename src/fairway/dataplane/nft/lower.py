"""Plan -> Ruleset: each Service becomes elements of the shared maps. Pure.

Only outcomes are read here, never a policy of Kubernetes: a door's class follows from what each of its ways says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import collapse_addresses

from msgspec import Struct

from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.affinity import Sticky, lower_affinity
from fairway.dataplane.nft.chains import Settings, class_chain, fixed_chains
from fairway.dataplane.nft.layout import (
    DROPPED,
    GUARDED,
    NODEPORT,
    REFUSE,
    SHORT_CUT_SLOT,
    DoorClass,
    Fixed,
    Policy,
    door_key,
    endpoint_value,
    port_key,
    slot_key,
)
from fairway.dataplane.nft.ruleset import Chain, Elements, Ruleset, SetSpec
from fairway.netlink.elements import Value
from fairway.netlink.expressions import DROP, Verdict, goto
from fairway.plan.model import (
    Backend,
    Backends,
    Door,
    DoorKind,
    Plan,
    Refusal,
    RejectReason,
    ServicePort,
    Source,
    Way,
)

_REFUSAL = {RejectReason.NO_ENDPOINTS: REFUSE, RejectReason.NO_LOCAL_ENDPOINTS: DROPPED}


class Share(Struct, frozen=True):
    """What the table holds for one Service.

    elements: its own, by set. classes: those its doors have, short cuts among them; many Services have the same.
    shared: set and key of elements that other Services may need too. chains, sets: its own, for session affinity.
    """

    elements: Mapping[str, Elements]
    classes: frozenset[DoorClass]
    shared: frozenset[tuple[str, bytes]]
    chains: tuple[Chain, ...] = ()
    sets: tuple[SetSpec, ...] = ()


LARGE_TABLE = 64
"""Doors from which on chains are kept in store. Endpoints, which come and go, do not decide it."""
SPARE_COUNTS = 16

NOTHING = Share({}, frozenset(), frozenset())


def lower(plan: Plan) -> Ruleset:
    """The table of one node. Raises ValueError for ways these rules cannot say, which `compile_plan` never makes."""
    by_service: dict[tuple[str, str], list[ServicePort]] = {}
    for port in plan.ports:
        by_service.setdefault((port.name.namespace, port.name.service), []).append(port)
    return join(plan, [lower_service(ports, plan) for ports in by_service.values()])


def lower_service(ports: Iterable[ServicePort], settings: Settings) -> Share:
    """What the table holds for one Service. Raises ValueError as `lower` does."""
    lowering = _Lowering(settings)
    for port in ports:
        lowering.add(port)
    return lowering.share()


def join(settings: Settings, shares: Iterable[Share]) -> Ruleset:
    """The whole table: what every node has, and the shares of its Services."""
    sets = dict(layout.fixed_sets(settings.family))
    elements: dict[str, dict[bytes, Value]] = {name: {} for name in sets}
    elements[layout.NODEPORT_IPS] |= node_port_ips(settings)
    classes: set[DoorClass] = set()
    own: dict[str, Chain] = {}
    for share in shares:
        for name, some in share.elements.items():
            elements[name].update(some)
        for name, key in share.shared:
            elements[name][key] = None
        classes |= share.classes
        own |= {chain.name: chain for chain in share.chains}
        sets |= {spec.name: spec for spec in share.sets}
    chains = {chain.name: chain for chain in fixed_chains(settings)} | own
    for door_class in sorted(with_spares(classes, count_doors(elements))):
        chain = class_chain(door_class, settings)
        if chain is not None:
            chains[chain.name] = chain
        name, verdict = class_element(door_class)
        elements[name][door_class.packed] = verdict
    return Ruleset(settings.family, layout.COMMENT, sets, chains, elements)


def with_spares(used: Iterable[DoorClass], doors: int) -> frozenset[DoorClass]:
    """The classes that have a chain: those in use and, in a large table, those a door is likely to have next.

    doors: how many the table has. When a rule of a new chain asks a map, the kernel goes through all of the map's
    elements (nf_tables_bind_set in net/netfilter/nf_tables_api.c), five milliseconds for a hundred thousand: so a large
    table has the chains of all small counts from the start. What is there still follows from the Plan alone.
    """
    classes = frozenset(used)
    if doors < LARGE_TABLE:
        return classes
    policies = {each.policy for each in classes if each.kind is not Policy.FIXED}
    return classes.union(DoorClass(policy, count) for policy in policies for count in range(1, SPARE_COUNTS + 1))


def count_doors(elements: Mapping[str, Elements]) -> int:
    """How many of these are in the maps of doors."""
    return sum(len(elements.get(name, ())) for name in (layout.SERVICES, layout.NODEPORTS))


def class_element(door_class: DoorClass) -> tuple[str, Verdict]:
    """The map that leads from a class to its chain, and the verdict there."""
    name = layout.SHORT_CUT_CLASSES if door_class.kind is Policy.SHORT_CUT else layout.CLASSES
    return name, DROP if door_class == DROPPED else goto(door_class.chain)


def node_port_ips(settings: Settings) -> Elements:
    """The node's addresses that take node ports; none where all do, since then the rule asks routing."""
    networks = settings.node_port_addresses
    if networks is None:
        return {}
    return {
        address.packed: None
        for address in settings.node_addresses
        if address.version == settings.family
        and any(address in network for network in networks)
        and not (address.is_loopback and (settings.family is Family.IPV6 or not settings.localhost_node_ports))
    }


class _Lowering:
    """Gathers the share of one Service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._elements: dict[str, dict[bytes, Value]] = {}
        self._classes: set[DoorClass] = set()
        self._shared: set[tuple[str, bytes]] = set()
        self._chains: list[Chain] = []
        self._sets: list[SetSpec] = []

    def share(self) -> Share:
        return Share(
            self._elements,
            frozenset(self._classes),
            frozenset(self._shared),
            tuple(self._chains),
            tuple(self._sets),
        )

    def add(self, port: ServicePort) -> None:
        values: dict[int, list[bytes]] = {}
        sticky = Sticky(port, self._settings) if port.affinity is not None else None
        for door in port.doors:
            self._add_door(door, values, sticky)
        self._add_hairpins(port)
        if sticky is not None:
            chains, sets = lower_affinity(sticky)
            self._chains += chains
            self._sets += sets

    def _add_door(self, door: Door, values: dict[int, list[bytes]], sticky: Sticky | None) -> None:
        nodeport = door.address is None
        if door.address is None:
            key, doors, backends = port_key(door.protocol, door.port), layout.NODEPORTS, layout.NODEPORT_BACKENDS
        else:
            key, doors, backends = (
                door_key(door.address, door.protocol, door.port),
                layout.SERVICES,
                layout.BACKENDS,
            )
        if door.kind is DoorKind.CLUSTER_IP:
            self._shared.add((layout.CLUSTER_IPS, key[: self._settings.family.bits // 8]))
        if door.allowed_sources is not None:
            self._add_source_ranges(door, key)
        ways = _Ways(door, self._settings)
        door_class = ways.door_class()
        if door_class.kind is Policy.FIXED or sticky is None:
            self._put(doors, key, door_class.packed)
            self._classes.add(door_class)
            if door_class.kind is not Policy.FIXED:
                self._add_backends(backends, key, ways, values)
            if door_class.kind is Policy.LOCAL:
                self._add_short_cut(key, ways, nodeport=nodeport)
            return
        entry = DoorClass(Policy.FIXED | (NODEPORT if nodeport else 0), Fixed.STICKY)
        self._put(doors, key, entry.packed)
        self._put(layout.NODEPORT_STICKY if nodeport else layout.STICKY, key, goto(sticky.door(door_class, ways)))
        self._classes.add(entry)

    def _put(self, name: str, key: bytes, value: Value) -> None:
        elements = self._elements.get(name)
        if elements is None:
            elements = self._elements[name] = {}
        elements[key] = value

    def _add_backends(self, name: str, key: bytes, ways: _Ways, values: dict[int, list[bytes]]) -> None:
        elements = self._elements.setdefault(name, {})
        for backends, first in ((ways.own, 0), (ways.short_cut, SHORT_CUT_SLOT)):
            if backends is None:
                continue
            some = values.get(id(backends))
            if some is None:
                some = values[id(backends)] = [endpoint_value(each) for each in backends.choices]
            elements.update({key + slot_key(slot): value for slot, value in enumerate(some, first)})

    def _add_short_cut(self, key: bytes, ways: _Ways, *, nodeport: bool) -> None:
        assert ways.short_cut is not None
        extra = NODEPORT if nodeport else 0
        door_class = DoorClass(Policy.SHORT_CUT | extra, _count(ways.short_cut))
        self._put(layout.NODEPORT_SHORT_CUTS if nodeport else layout.SHORT_CUTS, key, door_class.packed)
        self._classes.add(door_class)

    def _add_source_ranges(self, door: Door, key: bytes) -> None:
        # The kernel refuses ranges that overlap. typeshed wants one family, which the filter sees to.
        networks = [network for network in door.allowed_sources or () if network.version == self._settings.family]
        for network in collapse_addresses(networks):  # type: ignore[type-var]
            first, last = network.network_address.packed, network.broadcast_address.packed
            self._put(layout.SOURCE_RANGES, key + first, key + last)

    def _add_hairpins(self, port: ServicePort) -> None:
        """Endpoints whose own packets may come here with their own address.

        Those of this node come by the clusterIP. Those of others come only to doors that everybody can send to, and
        only where a door lets sources keep their address.
        """
        local: Iterable[Backend] = (each for each in port.cluster if each.local)
        if any(door.kind is not DoorKind.CLUSTER_IP and _may_keep(door) for door in port.doors):
            local = port.cluster
        for backend in (*local, *port.local):
            packed = layout.host_bytes(backend)
            self._shared.add((layout.HAIRPINS, packed + packed + port_key(port.name.protocol, backend.port)))


class _Ways:
    """What the ways of one door come to: for everybody, and for pods and the node where it is something else.

    own: the backends of those who take no short cut, None where they are refused. short_cut: of those who do.
    """

    def __init__(self, door: Door, settings: Settings) -> None:
        self._door = door
        self._has_pods = settings.tells_pods
        elsewhere = door.ways[Source.ELSEWHERE].outcome
        self.own = elsewhere if isinstance(elsewhere, Backends) else None
        self.short_cut: Backends | None = None

    def door_class(self) -> DoorClass:
        """Raises ValueError for ways that are none of a class."""
        ways = self._door.ways
        elsewhere, node = ways[Source.ELSEWHERE], ways[Source.NODE]
        pod = ways[Source.POD] if self._has_pods else elsewhere
        guarded = GUARDED if self._door.allowed_sources is not None else 0
        extra = guarded | (NODEPORT if self._door.address is None else 0)
        if isinstance(node.outcome, Refusal):
            if not isinstance(elsewhere.outcome, Refusal) or not isinstance(pod.outcome, Refusal):
                raise ValueError(f"{self._door}: only some sources are refused")
            # A refusal is the same at every door, node ports too, unless somebody has to be told from others.
            return DoorClass(Policy.FIXED | guarded, _REFUSAL[elsewhere.outcome.reason].count)
        if _differ(node, elsewhere):
            return DoorClass(self._local(pod, node, elsewhere) | extra, _count(self.own))
        if not isinstance(elsewhere.outcome, Backends) or _differ(pod, elsewhere):
            raise ValueError(f"{self._door}: pods have other backends than the node itself")
        kind = {
            (False, False): Policy.KEEP,
            (True, True): Policy.MASQUERADE,
            (False, True): Policy.MASQUERADE_OUTSIDE,
        }.get((pod.masquerade, elsewhere.masquerade))
        if kind is None or node.masquerade is not elsewhere.masquerade:
            raise ValueError(f"{self._door}: these sources are not told apart")
        return DoorClass(kind | extra, _count(self.own))

    def _local(self, pod: Way, node: Way, elsewhere: Way) -> Policy:
        assert isinstance(node.outcome, Backends)
        is_drop = isinstance(elsewhere.outcome, Refusal) and _REFUSAL[elsewhere.outcome.reason] == DROPPED
        pods_as_node = not self._has_pods or (not _differ(pod, node) and not pod.masquerade)
        if not node.masquerade or elsewhere.masquerade or not pods_as_node or not (self.own or is_drop):
            raise ValueError(f"{self._door}: these sources are not told apart")
        self.short_cut = node.outcome
        return Policy.LOCAL


def _differ(one: Way, other: Way) -> bool:
    """Whether two ways lead to different backends; both sets of a Service port may hold the same."""
    if isinstance(one.outcome, Backends) and isinstance(other.outcome, Backends):
        return one.outcome.scope is not other.outcome.scope
    return isinstance(one.outcome, Backends) is not isinstance(other.outcome, Backends)


def _may_keep(door: Door) -> bool:
    return any(isinstance(way.outcome, Backends) and not way.masquerade for way in door.ways.values())


def _count(backends: Backends | None) -> int:
    if backends is None:
        return 0
    count = len(backends.choices)
    if count > layout.MAX_BACKENDS:
        raise ValueError(f"{count} backends: a door can have {layout.MAX_BACKENDS}")
    return count
