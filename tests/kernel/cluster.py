"""What the tests of real packets have in common: objects, the Plan of them, and what is to be seen of a packet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fairway.api.codec import decode_cluster
from fairway.base.addresses import IPAddress
from fairway.flow.trace import Disposition, Trace
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.options import Options, view_node
from tests.kernel.wire import Seen


def service(name: str, number: int, protocol: str = "TCP", **spec: Any) -> dict[str, Any]:
    """Type LoadBalancer: cluster IP 10.200.1.NUMBER:80, node port 30000+NUMBER."""
    port = {"port": 80, "protocol": protocol, "nodePort": 30000 + number}
    address = spec.pop("address", None)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIP": f"10.200.1.{number}", "ports": [port], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}} if address else {},
    }


def endpoints(name: str, nodes: Mapping[str, str], protocol: str = "TCP") -> dict[str, Any]:
    """One slice; nodes: of each address the node it is on."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": node} for address, node in nodes.items()],
        "ports": [{"name": "", "port": 8080, "protocol": protocol}],
    }


def assembly_of(objects: Sequence[dict[str, Any]], node: str, options: Options) -> Assembly:
    """The Plan of a node, and its parts."""
    cluster = decode_cluster(objects)
    view = view_node(cluster.node(node), options)
    assembly = Assembly(view)
    by_service, notes = group_slices(cluster.slices)
    assembly.set_notes(notes)
    for each in cluster.services:
        assembly.put(compile_service(each, by_service.get(each.metadata.key, ()), view))
    return assembly


def is_as_expected(seen: Seen, expected: Iterable[Trace], is_own: Callable[[IPAddress], bool]) -> bool:
    """Whether one of these fates, all of one packet, is what was seen.

    What is let in past a firewall arrives where it was sent to. A packet from a link that stays on the node does not
    leave it, so that nothing rewrites its source.
    """
    return any(_is_this(seen, trace, is_own) for trace in expected)


def _is_this(seen: Seen, trace: Trace, is_own: Callable[[IPAddress], bool]) -> bool:
    if trace.disposition in (Disposition.ACCEPT, Disposition.NONE):
        return seen.disposition is Disposition.NONE and seen.peer in (None, trace.packet.source)
    if seen.disposition is not trace.disposition or not trace.candidates:
        return seen.disposition is trace.disposition
    assert seen.peer is not None
    for candidate in trace.candidates:
        if (candidate.address, candidate.port) == seen.server:
            leaves = trace.packet.from_node or not is_own(candidate.address)
            return is_own(seen.peer) if candidate.masquerade and leaves else seen.peer == trace.packet.source
    return False
