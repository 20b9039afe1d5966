"""What happens to a packet, step by step, with the reason for each step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

from fairway.base.addresses import IPAddress, format_host
from fairway.flow.packet import Packet


class Disposition(StrEnum):
    """What a node does with the first packet of a connection, as far as Services have a say."""

    DNAT = "DNAT"
    """Its destination becomes one backend; conntrack keeps the connection there."""
    REJECT = "REJECT"
    """The node answers with ICMP port unreachable, so that the sender learns at once."""
    DROP = "DROP"
    """Silence; the sender waits and tries again, or elsewhere."""
    ACCEPT = "ACCEPT"
    """Let through to the node itself, past a firewall that says no later: the health check node port (iptables)."""
    NONE = "NONE"
    """Services have nothing to say: the packet goes on to where it was sent, if anything is there."""


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """The object, field and words behind an entry of the Plan.

    kind, namespace, name: the object. field: a path in it, such as spec.externalTrafficPolicy, with `value` as it
    stands there. reason: a clause that completes "because ...".
    """

    kind: str
    namespace: str
    name: str
    field: str
    value: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """One clause for a person: "Service default/web: spec.type=NodePort"."""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        value = f"={self.value}" if self.value else ""
        return f"{self.kind} {name}: {self.field}{value}" if self.field else f"{self.kind} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision on the packet's way.

    text: what happened, a sentence without its full stop. origin: the object and field that decided it, None where
    none did. entry: the entry of the Plan, as a person would name it ("default/web:http nodePort 30080/tcp").
    """

    text: str
    origin: Origin | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backend the packet may be sent to.

    probability: of this one among all, exact. masquerade: its source becomes an address of this node, so that the
    answer comes back this way.
    """

    address: IPAddress
    port: int
    probability: Fraction
    masquerade: bool
    local: bool

    def __str__(self) -> str:
        return f"{format_host(self.address)}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The fate of one packet.

    candidates: empty unless the disposition is DNAT, else sorted by their text, with probabilities that sum to 1.
    reason: the step that settled it, as one sentence without its full stop.
    """

    packet: Packet
    disposition: Disposition
    steps: tuple[Step, ...]
    reason: str
    candidates: tuple[Candidate, ...] = ()

    @property
    def masquerade(self) -> bool:
        """Whether the source is rewritten whichever candidate it meets."""
        return bool(self.candidates) and all(candidate.masquerade for candidate in self.candidates)
