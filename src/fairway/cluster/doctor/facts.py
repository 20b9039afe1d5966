"""What is known of one node, in the form in which it travels from there: JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from fairway.cluster.doctor.filters import FilterTable


class Questions(Struct, frozen=True, kw_only=True):
    """What a node is to look into besides itself.

    routes_to: addresses, to learn by which link it would send to them. health_checks: ports of its own to ask.
    """

    routes_to: tuple[str, ...] = ()
    health_checks: tuple[int, ...] = ()


class Link(Struct, frozen=True, kw_only=True):
    """kind: as the kernel names it ("bridge", "vxlan"), "" of a card. addresses: with the length of their network."""

    name: str
    kind: str = ""
    up: bool = True
    addresses: tuple[str, ...] = ()


class Listener(Struct, frozen=True, kw_only=True, order=True):
    """A socket that waits for calls. protocol: "tcp" or "udp". address: "0.0.0.0" and "::" for all.

    pid: 0 where its process cannot be seen. process: its name.
    """

    protocol: str
    port: int
    address: str
    pid: int = 0
    process: str = ""


class ProxyProcess(Struct, frozen=True, kw_only=True):
    """A process that programs Services. node: the name it goes by there."""

    pid: int
    name: str
    node: str


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What `nodefacts` prints.

    sysctls: by path under /proc/sys; one that the kernel does not have is missing. routes: by address that was asked
    for, the link towards it, "" for none. tables: of nf_tables and iptables, those of Services not among them.
    services: what the kernel holds in our own tables, as `fairway rules -o json` has it, by table. saved: the output of
    each iptables-save that had something to say, by program. kube_proxy: names of kube-proxy's own nf_tables tables.
    agent: the status that the agent's /healthz gave, 0 where nobody answered; health_checks: the same by port.
    """

    hostname: str
    sysctls: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    routes: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    tables: tuple[FilterTable, ...] = ()
    services: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, str] = field(default_factory=dict)
    kube_proxy: tuple[str, ...] = ()
    proxies: tuple[ProxyProcess, ...] = ()
    agent: int | None = None
    health_checks: Mapping[int, int] = field(default_factory=dict)

    def number(self, path: str) -> int | None:
        """A sysctl that is a number; None where the kernel does not have it."""
        text = self.sysctls.get(path, "").strip()
        return int(text) if text.lstrip("-").isdigit() else None

    def link_with(self, address: str) -> Link | None:
        """The link that has an address."""
        for link in self.links:
            if any(each.partition("/")[0] == address for each in link.addresses):
                return link
        return None
