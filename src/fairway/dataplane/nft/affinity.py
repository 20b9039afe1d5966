"""Session affinity: the one thing a Service has chains and sets of its own for. Pure.

As in kube-proxy's nftables mode each endpoint of such a Service port remembers its clients in a set, which packets
fill and time empties. A client is led to the first endpoint that remembers it, in the order of the backends, and else
to any. All doors of the Service port share the sets.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol as Interface

from fairway.dataplane.nft import layout
from fairway.dataplane.nft.chains import (
    Settings,
    drop_rule,
    endpoint_rules,
    one_in_rule,
    policy_rules,
    remembered_rule,
)
from fairway.dataplane.nft.layout import PROTOCOL_NUMBERS, DoorClass
from fairway.dataplane.nft.ruleset import Chain, Rule, SetSpec
from fairway.netlink.expressions import ImmediateVerdict, goto
from fairway.netlink.userdata import COMMENT_LIMIT
from fairway.plan.model import Backend, Backends, PortName, ServicePort

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:")
"""What a comment may hold: nft prints comments between quotes, as they are."""


class Choices(Interface):
    """What a door leads to: for everybody, and for those who take the short cut."""

    @property
    def own(self) -> Backends | None: ...
    @property
    def short_cut(self) -> Backends | None: ...


class Sticky:
    """One Service port with affinity, and which chains its doors turned out to need."""

    def __init__(self, port: ServicePort, settings: Settings) -> None:
        self.port, self.settings = port, settings
        self.hash = port_hash(port.name)
        self.doors: dict[str, tuple[DoorClass, Choices]] = {}
        assert port.affinity is not None
        self.timeout_s = port.affinity.timeout_s

    def clients(self, backend: Backend) -> str:
        """The set of clients of an endpoint. Its timeout cannot change, so another timeout is another set."""
        return f"clients-{self.hash}-{_place(backend)}-{self.timeout_s}s"

    def door(self, door_class: DoorClass, choices: Choices) -> str:
        """The chain for doors of that class that lead to these backends, whatever the class counts them."""
        policy = DoorClass(door_class.policy & ~layout.NODEPORT, 0).chain.removesuffix("-0")
        scope = choices.own.scope.value if choices.own is not None else "none"
        name = f"sticky-{policy}-{scope}-{self.hash}"
        self.doors[name] = (door_class, choices)
        return name


def port_hash(name: PortName) -> str:
    """Eighty bits of SHA-256 in base32, as kube-proxy's iptables mode names its chains (`portProtoHash`)."""
    digest = hashlib.sha256(f"{name}{name.protocol}".encode()).digest()
    return base64.b32encode(digest).decode()[:16]


def lower_affinity(sticky: Sticky) -> tuple[list[Chain], list[SetSpec]]:
    """The chains and sets of a Service port, what is led to before what leads there."""
    family = sticky.settings.family
    backends = _distinct(sticky)
    sets = [layout.affinity_set(family, sticky.clients(each), sticky.timeout_s) for each in backends]
    protocol = PROTOCOL_NUMBERS[sticky.port.name.protocol]
    comment = _comment(sticky.port.name)
    endpoints = [
        Chain(
            _endpoint(sticky.hash, each),
            endpoint_rules(family, protocol, each.address, each.port, sticky.clients(each)),
            comment=comment,
        )
        for each in backends
    ]
    choices: dict[str, Chain] = {}
    doors: list[Chain] = []
    for name, (door_class, led) in sticky.doors.items():
        for some in (led.own, led.short_cut):
            if some is not None:
                choice = _choice(sticky.hash, some)
                choices.setdefault(choice, Chain(choice, tuple(_choose(sticky, some)), comment=comment))
        last = _goto(_choice(sticky.hash, led.own)) if led.own is not None else drop_rule()
        short_cut = _choice(sticky.hash, led.short_cut) if led.short_cut is not None else ""
        rules = policy_rules(door_class, sticky.settings, last=last, short_cut=short_cut)
        doors.append(Chain(name, tuple(rules), comment=comment))
    return [*endpoints, *choices.values(), *doors], sets


def _choose(sticky: Sticky, backends: Backends) -> Iterator[Rule]:
    family = sticky.settings.family
    for each in backends.choices:
        yield remembered_rule(family, sticky.clients(each), _endpoint(sticky.hash, each))
    for left, each in zip(range(len(backends.choices), 0, -1), backends.choices, strict=True):
        yield one_in_rule(left, _endpoint(sticky.hash, each))


def _distinct(sticky: Sticky) -> list[Backend]:
    led = (some for _, choices in sticky.doors.values() for some in (choices.own, choices.short_cut))
    found: dict[str, Backend] = {}
    for some in led:
        for each in some.choices if some is not None else ():
            found.setdefault(_place(each), each)
    return list(found.values())


def _goto(chain: str) -> Rule:
    return Rule((ImmediateVerdict(goto(chain)),))


def _choice(port: str, backends: Backends) -> str:
    return f"affinity-{backends.scope.value}-{port}"


def _endpoint(port: str, backend: Backend) -> str:
    return f"endpoint-{port}-{_place(backend)}"


def _place(backend: Backend) -> str:
    """nft's names have no colon."""
    return f"{str(backend.address).replace(':', '.')}-{backend.port}"


def _comment(name: PortName) -> str:
    """Which Service port it is, as far as a comment goes; a longer one would come back from the kernel as another."""
    text = str(name)[: COMMENT_LIMIT - 1]
    return text if _is_safe(text) else ""


def _is_safe(text: Iterable[str]) -> bool:
    return all(character in _SAFE for character in text)
