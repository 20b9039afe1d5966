"""A topology resolved to steps: what is done, in order, and how each is undone.

Every step says itself as the command a person would type, so that a dry run reads like a shell script. A step's `host`
is the name of the host it happens in, or ROOT for the lab's own outermost namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from fairway.base.addresses import IPAddress, IPInterface, IPNetwork, on_link, parse_network
from fairway.fabric.protocol import HostKind, HostSpec
from fairway.fabric.topology import ClientSpec, NodeSpec, Topology

ROOT = ""
BRIDGE = "fairway0"
UPLINK = "eth0"
"""A host's link to the bridge, named as in a container."""

_ANY = {4: parse_network("0.0.0.0/0"), 6: parse_network("::/0")}

_ROOT_SYSCTLS = (
    # Without a route out, forwarding is what makes an address elsewhere "unreachable" at once, not a time-out.
    ("net.ipv4.ip_forward", "1", "0"),
)
_BRIDGE_SYSCTLS = (
    # What the bridge carries is the nodes' business: no rule of any namespace may see it on the way (br_netfilter).
    ("net.bridge.bridge-nf-call-iptables", "0", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "0", "1"),
    ("net.bridge.bridge-nf-call-arptables", "0", "1"),
)
_NODE_SYSCTLS = (
    ("net.ipv4.ip_forward", "1", "0"),
    # Replies may take another way than requests (a load balancer's address, Local policy). The kernel uses the greater
    # of `all` and the link's own, and a link takes its own from `default` when it is made (ip-sysctl.rst).
    ("net.ipv4.conf.all.rp_filter", "0", "0"),
    ("net.ipv4.conf.default.rp_filter", "0", "0"),
    # Traffic for a node port often leaves by the link it came by; to tell the client a shorter way would be wrong.
    ("net.ipv4.conf.all.send_redirects", "0", "1"),
    ("net.ipv4.conf.default.send_redirects", "0", "1"),
)
_IPV6_SYSCTLS = (
    # Whatever a machine's own links are told: these are others. The settings of `default` are those of links yet to
    # come (ip-sysctl.rst).
    ("net.ipv6.conf.all.disable_ipv6", "0", "0"),
    # Every address here is given once, and to be used at once: nobody is asked whether it is taken, also not for the
    # link-local ones, from which neighbours are asked for.
    ("net.ipv6.conf.default.accept_dad", "0", "1"),
    # No router advertises, and a neighbour's shorter way would lead past the node that has to translate the reply.
    ("net.ipv6.conf.default.accept_ra", "0", "1"),
    ("net.ipv6.conf.all.accept_redirects", "0", "1"),
    ("net.ipv6.conf.default.accept_redirects", "0", "1"),
)
_IPV6_FORWARDING = (("net.ipv6.conf.all.forwarding", "1", "0"),)
_CONNTRACK_SYSCTLS = (
    # Events with or without a listener that the kernel has noticed (nf_conntrack-sysctl.rst). Where conntrack is a
    # module there is no such parameter before the first rule that needs it.
    ("net.netfilter.nf_conntrack_events", "1", "2"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateHost:
    """Make a host's namespaces, with its hostname and files."""

    spec: HostSpec

    @property
    def host(self) -> str:
        return ROOT

    @property
    def command(self) -> str:
        files = "".join(f" {path}" for path in sorted(self.spec.files))
        return f"ip netns add {self.spec.name}  # hostname {self.spec.hostname};{files}"

    @property
    def undo(self) -> RemoveHost:
        return RemoveHost(spec=self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveHost:
    """End everything in a host, and the host."""

    spec: HostSpec

    @property
    def host(self) -> str:
        return ROOT

    @property
    def command(self) -> str:
        return f"ip netns delete {self.spec.name}"

    @property
    def undo(self) -> CreateHost:
        return CreateHost(spec=self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBridge:
    """Make the bridge; it learns addresses and floods, and runs no spanning tree."""

    name: str
    mac: str
    host: str = ROOT

    @property
    def command(self) -> str:
        return f"ip link add {self.name} address {self.mac} type bridge stp_state 0 mcast_snooping 0"

    @property
    def undo(self) -> DeleteLink:
        return DeleteLink(name=self.name, host=self.host, restore=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVeth:
    """Make a pair of links: `name` here, a port of `bridge`; `peer` in the host `peer_host`."""

    name: str
    bridge: str
    peer: str
    peer_host: str
    peer_mac: str
    host: str = ROOT

    @property
    def command(self) -> str:
        return (
            f"ip link add {self.name} master {self.bridge} up type veth "
            f"peer name {self.peer} address {self.peer_mac} netns {self.peer_host}"
        )

    @property
    def undo(self) -> DeleteLink:
        return DeleteLink(name=self.name, host=self.host, restore=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLink:
    """Delete a link, and with it its peer, its addresses and the routes through it."""

    name: str
    host: str
    restore: AddBridge | AddVeth

    @property
    def command(self) -> str:
        return f"{_ip(self.host)} link delete {self.name}"

    @property
    def undo(self) -> AddBridge | AddVeth:
        return self.restore


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLink:
    """Take a link up or down."""

    host: str
    name: str
    up: bool = True

    @property
    def command(self) -> str:
        return f"{_ip(self.host)} link set {self.name} {'up' if self.up else 'down'}"

    @property
    def undo(self) -> SetLink:
        return replace(self, up=not self.up)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Give a link an address with its network, or take it away."""

    host: str
    link: str
    address: IPInterface
    present: bool = True

    @property
    def command(self) -> str:
        nodad = " nodad" if self.address.version == 6 and self.present else ""
        return f"{_ip(self.host)} address {_verb(self.present)} {self.address} dev {self.link}{nodad}"

    @property
    def undo(self) -> Address:
        return replace(self, present=not self.present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route to a network through a neighbour, or its removal."""

    host: str
    destination: IPNetwork
    via: IPAddress
    present: bool = True

    @property
    def command(self) -> str:
        destination = str(self.destination) if self.destination.prefixlen else "default"
        family = " -6" if self.destination.version == 6 else ""
        return f"{_ip(self.host)}{family} route {_verb(self.present)} {destination} via {self.via}"

    @property
    def undo(self) -> Route:
        return replace(self, present=not self.present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """Set a kernel parameter of a network namespace.

    otherwise: the kernel's own default, to go back to. optional: skip it where this kernel does not have it.
    """

    host: str
    key: str
    value: str
    otherwise: str
    optional: bool = False

    @property
    def command(self) -> str:
        inside = f"ip netns exec {self.host} " if self.host else ""
        return f"{inside}sysctl -w{' -e' if self.optional else ''} {self.key}={self.value}"

    @property
    def undo(self) -> Sysctl:
        return replace(self, value=self.otherwise, otherwise=self.value)


NetworkStep = AddBridge | AddVeth | DeleteLink | SetLink | Address | Route | Sysctl
Step = CreateHost | RemoveHost | NetworkStep


def resolve(topology: Topology, *, node_visible: Sequence[str] = ()) -> tuple[Step, ...]:
    """The steps that make the topology from nothing: the hosts first, then their sysctls, links, addresses and routes.

    node_visible: directories under /run or /tmp that the nodes' own programs need to see (HostSpec.visible).
    """
    hosts = hosts_file(topology)
    return (
        *(_create(machine, hosts, node_visible) for machine in topology.machines),
        *_root_steps(topology),
        *(step for machine in topology.machines for step in _machine_sysctls(machine, topology)),
        *(_veth(index, machine) for index, machine in enumerate(topology.machines)),
        *(step for machine in topology.machines for step in _machine_steps(machine, topology)),
    )


def undo(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps that take these back: each one's undo, the last first."""
    return tuple(step.undo for step in reversed(tuple(steps)))


def hosts_file(topology: Topology) -> str:
    """/etc/hosts of every node and client: loopback, and all of them by name."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{machine.name}" for machine in topology.machines for address in machine.addresses]
    return "\n".join(lines) + "\n"


def resolv_conf() -> str:
    """/etc/resolv.conf of every node and client: the cluster's DNS is for pods, so a question here must fail fast."""
    return "# Only pods have a name server; nodes and clients are in /etc/hosts.\noptions timeout:1 attempts:1\n"


def mac_of(address: IPv4Address) -> str:
    """A locally administered hardware address made from an IPv4 address, as Docker's bridge driver does: 02:42 + it."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *address.packed))


def _create(machine: NodeSpec | ClientSpec, hosts: str, node_visible: Sequence[str]) -> CreateHost:
    is_node = isinstance(machine, NodeSpec)
    spec = HostSpec(
        name=machine.name,
        kind=HostKind.NODE if is_node else HostKind.CLIENT,
        hostname=machine.name,
        files={"/etc/hosts": hosts, "/etc/resolv.conf": resolv_conf()},
        visible=tuple(node_visible) if is_node else (),
    )
    return CreateHost(spec=spec)


def _root_steps(topology: Topology) -> tuple[NetworkStep, ...]:
    ipv4, *ipv6 = (on_link(ranges.gateway, ranges.network.prefixlen) for ranges in topology.ranges)
    return (
        *_sysctls(ROOT, _ROOT_SYSCTLS),
        *(_sysctls(ROOT, (*_IPV6_SYSCTLS, *_IPV6_FORWARDING)) if ipv6 else ()),
        *_sysctls(ROOT, _BRIDGE_SYSCTLS, optional=True),
        AddBridge(name=BRIDGE, mac=mac_of(topology.gateway)),
        Address(host=ROOT, link=BRIDGE, address=ipv4),
        SetLink(host=ROOT, name=BRIDGE),
        *(Address(host=ROOT, link=BRIDGE, address=address) for address in ipv6),
    )


def bridge_ports(topology: Topology) -> dict[str, str]:
    """The bridge's port to each machine, by the machine's name."""
    return {machine.name: _veth(index, machine).name for index, machine in enumerate(topology.machines)}


def _veth(index: int, machine: NodeSpec | ClientSpec) -> AddVeth:
    return AddVeth(
        name=f"veth{index}", bridge=BRIDGE, peer=UPLINK, peer_host=machine.name, peer_mac=mac_of(machine.address)
    )


def _machine_steps(machine: NodeSpec | ClientSpec, topology: Topology) -> tuple[NetworkStep, ...]:
    name = machine.name
    ipv4, *ipv6 = (
        on_link(address, ranges.network.prefixlen)
        for address, ranges in zip(machine.addresses, topology.ranges, strict=True)
    )
    return (
        Address(host=name, link=UPLINK, address=ipv4),
        SetLink(host=name, name=UPLINK),
        # The network's route, which others lead through, comes with an IPv6 address only where the link is up.
        *(Address(host=name, link=UPLINK, address=address) for address in ipv6),
        *(Route(host=name, destination=_ANY[ranges.family], via=ranges.gateway) for ranges in topology.ranges),
        *(
            Route(host=name, destination=pods, via=address)
            for other in topology.nodes
            if isinstance(machine, NodeSpec) and other != machine
            for address, pods in zip(other.addresses, other.pod_cidrs, strict=True)
        ),
    )


def _machine_sysctls(machine: NodeSpec | ClientSpec, topology: Topology) -> tuple[Sysctl, ...]:
    name, is_node, dual = machine.name, isinstance(machine, NodeSpec), topology.ipv6 is not None
    return (
        *_sysctls(name, _NODE_SYSCTLS if is_node else ()),
        *_sysctls(name, _IPV6_SYSCTLS if dual else ()),
        *_sysctls(name, _IPV6_FORWARDING if dual and is_node else ()),
        *_sysctls(name, _CONNTRACK_SYSCTLS if is_node else (), optional=True),
    )


def _sysctls(host: str, settings: Iterable[tuple[str, str, str]], *, optional: bool = False) -> tuple[Sysctl, ...]:
    return tuple(
        Sysctl(host=host, key=key, value=value, otherwise=otherwise, optional=optional)
        for key, value, otherwise in settings
    )


def _ip(host: str) -> str:
    return f"ip -n {host}" if host else "ip"


def _verb(present: bool) -> str:
    return "add" if present else "delete"
