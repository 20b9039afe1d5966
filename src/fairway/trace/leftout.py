"""The endpoints of a Service that a packet is not sent to, each with the reason. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.discovery import Endpoint
from fairway.api.types import Key
from fairway.base.addresses import Family, canonical_address
from fairway.base.errors import Refused
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import Backends, Scope
from fairway.trace.journey import Leg
from fairway.trace.scene import Scene


def left_out(leg: Leg, opening: Opening | None, evaluator: Evaluator, scene: Scene) -> tuple[str, ...]:
    """A clause each, `10.10.2.3, on worker2: it is not ready`; empty where none is left out, or none is chosen."""
    if opening is None or leg.trace.disposition is not Disposition.DNAT:
        return ()
    outcome = opening.door.ways[evaluator.source_of(leg.packet)].outcome
    assert isinstance(outcome, Backends)
    name = opening.port.name
    chosen = {backend.host for backend in outcome.choices}
    family = evaluator.plan.family
    found: dict[str, str] = {}
    for endpoint in _endpoints(Key(name.namespace, name.service), name.port, name.protocol.api_name, family, scene):
        try:
            host = canonical_address(endpoint.addresses[0], family)
        except (IndexError, Refused):
            continue
        if host not in chosen:
            found.setdefault(host, f"{scene.places.title(host)}: {_why(endpoint, outcome.scope, leg.node)}")
    return tuple(found.values())


def _endpoints(key: Key, port: str, protocol: str, family: Family, scene: Scene) -> Iterator[Endpoint]:
    for each in scene.view.slices:
        if each.address_type != family.api_name or Key(each.metadata.namespace, each.service_name) != key:
            continue
        if any((known.name, known.protocol) == (port, protocol) for known in each.ports):
            yield from each.endpoints


def _why(endpoint: Endpoint, scope: Scope, node: str) -> str:
    if endpoint.terminating:
        return "its pod is terminating"
    if not endpoint.ready:
        return "it is not ready"
    if scope is Scope.LOCAL:
        return f"it is not on {node}"
    zones = ", ".join(hint.name for hint in endpoint.hints.for_zones)
    nodes = ", ".join(hint.name for hint in endpoint.hints.for_nodes)
    if nodes:
        return f"its hints keep it for clients on {nodes}"
    return f"its hints keep it for clients of zone {zones}" if zones else "another entry says otherwise of it"
