"""A packet as a node first sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairway.base.addresses import IPAddress as IPAddress


class Protocol(StrEnum):
    """Transport protocols of a Service port; the value is the name as iptables and conntrack write it."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"

    @property
    def api_name(self) -> str:
        """As in `spec.ports[].protocol`."""
        return self.value.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection.

    from_node: it was sent by a process on this node itself (nat OUTPUT), not received from a link (nat PREROUTING).
    interface: the name of the link it came in by; "" where the node sent it, or where no one knows.
    """

    source: IPAddress
    destination: IPAddress
    port: int
    protocol: Protocol = Protocol.TCP
    from_node: bool = False
    interface: str = ""
