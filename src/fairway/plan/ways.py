"""What each class of sources meets at a Service port: the policies, settled into outcomes (KEP-2086, KEP-1669)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from fairway.api.core import Service, TrafficPolicy
from fairway.api.core import ServicePort as ApiServicePort
from fairway.api.discovery import SERVICE_NAME_LABEL
from fairway.plan.doors import origin_of
from fairway.plan.endpoints import KnownEndpoints, Topology, Usable
from fairway.plan.model import Backends, Origin, Outcome, Refusal, RejectReason, Scope, Source, Way
from fairway.plan.options import NodeView

INTERNAL_POLICY = "spec.internalTrafficPolicy"
EXTERNAL_POLICY = "spec.externalTrafficPolicy"


class Outcomes(Struct, frozen=True, kw_only=True, gc=False):
    """The two choices of a Service port on a node; local is None where no endpoint of this node may be used."""

    cluster: Outcome
    local: Backends | None


def outcomes_of(
    service: Service, port: ApiServicePort, usable: Usable, known: KnownEndpoints, view: NodeView
) -> Outcomes:
    """The choices among `usable`, each with the reason why it is these or none."""
    if not usable.cluster:
        origin = _why_none(service, port, usable, known, view)
        return Outcomes(cluster=Refusal(reason=RejectReason.NO_ENDPOINTS, origin=origin), local=None)
    cluster = Backends(
        scope=Scope.CLUSTER, choices=usable.cluster, origin=_slices_origin(service, known, _why_cluster(usable, view))
    )
    if not usable.local:
        return Outcomes(cluster=cluster, local=None)
    local = Backends(
        scope=Scope.LOCAL, choices=usable.local, origin=_slices_origin(service, known, _why_local(usable, view))
    )
    return Outcomes(cluster=cluster, local=local)


def internal_ways(service: Service, outcomes: Outcomes, view: NodeView) -> Mapping[Source, Way]:
    """At the clusterIP: the internal traffic policy chooses, and only pods keep their address."""
    policy = service.spec.internal_traffic_policy
    outcome = outcomes.cluster
    if policy is TrafficPolicy.LOCAL:
        outcome = _local_outcome(outcomes, service, INTERNAL_POLICY)
    if isinstance(outcome, Refusal):
        return _all_sources(outcome)
    if view.masquerade_all:
        reason = "masqueradeAll rewrites the source of everything that is sent to a clusterIP"
        origin = Origin(
            kind="KubeProxyConfiguration", namespace="", name="", field="masqueradeAll", value="true", reason=reason
        )
        return _same_for_all(Way(outcome=outcome, masquerade=True, origin=origin))
    admits = "endpoints of this node only" if policy is TrafficPolicy.LOCAL else "endpoints of every node"
    if not view.tells_pods:
        reason = f"the policy admits {admits}, and since pods cannot be told from others every source keeps its address"
        return _same_for_all(
            Way(outcome=outcome, masquerade=False, origin=origin_of(service, INTERNAL_POLICY, policy, reason))
        )
    inside = origin_of(service, INTERNAL_POLICY, policy, f"the policy admits {admits}, and pods keep their address")
    outside = origin_of(
        service,
        INTERNAL_POLICY,
        policy,
        f"the policy admits {admits}, and the answer to a source that is no pod's must come back this way",
    )
    rewritten = Way(outcome=outcome, masquerade=True, origin=outside)
    return {
        Source.POD: Way(outcome=outcome, masquerade=False, origin=inside),
        Source.NODE: rewritten,
        Source.ELSEWHERE: rewritten,
    }


def external_ways(service: Service, outcomes: Outcomes, view: NodeView) -> Mapping[Source, Way]:
    """At node ports, externalIPs and the load balancer's addresses: the external traffic policy chooses.

    Under Local, pods and this node itself still reach every endpoint: they are no load balancer's business.
    """
    cluster = outcomes.cluster
    if isinstance(cluster, Refusal):
        return _all_sources(cluster)
    policy = service.spec.external_traffic_policy
    if policy is not TrafficPolicy.LOCAL or not service.is_externally_reachable:
        reason = "the policy admits endpoints of every node, so the answer must come back this way"
        origin = origin_of(service, EXTERNAL_POLICY, TrafficPolicy.CLUSTER, reason)
        return _same_for_all(Way(outcome=cluster, masquerade=True, origin=origin))
    elsewhere = _elsewhere_under_local(service, outcomes)
    node_reason = "the policy binds traffic from elsewhere only; a source on this node reaches every endpoint"
    pod_reason = "the policy binds traffic from elsewhere only; pods reach every endpoint and keep their address"
    pod = Way(outcome=cluster, masquerade=False, origin=origin_of(service, EXTERNAL_POLICY, policy, pod_reason))
    node = Way(outcome=cluster, masquerade=True, origin=origin_of(service, EXTERNAL_POLICY, policy, node_reason))
    return {
        Source.POD: pod if view.tells_pods else elsewhere,
        Source.NODE: node,
        Source.ELSEWHERE: elsewhere,
    }


def _elsewhere_under_local(service: Service, outcomes: Outcomes) -> Way:
    outcome = _local_outcome(outcomes, service, EXTERNAL_POLICY)
    if isinstance(outcome, Refusal):
        return Way(outcome=outcome, masquerade=False, origin=outcome.origin)
    reason = "the policy keeps traffic from elsewhere on this node, so the client keeps its address"
    origin = origin_of(service, EXTERNAL_POLICY, TrafficPolicy.LOCAL, reason)
    return Way(outcome=outcome, masquerade=False, origin=origin)


def _local_outcome(outcomes: Outcomes, service: Service, field: str) -> Outcome:
    if outcomes.local is not None:
        return outcomes.local
    if isinstance(outcomes.cluster, Refusal):
        return outcomes.cluster
    count = len(outcomes.cluster.choices)
    reason = f"the policy admits endpoints of this node only, and {_count(count, 'usable endpoint')} of the Service "
    reason += "runs on another" if count == 1 else "run on others"
    return Refusal(
        reason=RejectReason.NO_LOCAL_ENDPOINTS, origin=origin_of(service, field, TrafficPolicy.LOCAL, reason)
    )


def _all_sources(refusal: Refusal) -> Mapping[Source, Way]:
    return _same_for_all(Way(outcome=refusal, masquerade=False, origin=refusal.origin))


def _same_for_all(way: Way) -> Mapping[Source, Way]:
    return dict.fromkeys(Source, way)


def _why_cluster(usable: Usable, view: NodeView) -> str:
    count = len(usable.cluster)
    if usable.cluster_terminating:
        return f"no endpoint is ready, and {_count(count, 'terminating one')} still {_serve(count)}"
    match usable.topology:
        case Topology.SAME_NODE:
            return f"hints keep clients of this node on {_count(count, 'endpoint')} of {usable.known}"
        case Topology.SAME_ZONE:
            return f"hints keep clients of zone {view.zone} on {_count(count, 'endpoint')} of {usable.known}"
        case Topology.ANY:
            return f"{count} of {_count(usable.known, 'endpoint')} may be used"


def _why_local(usable: Usable, view: NodeView) -> str:
    count = len(usable.local)
    if usable.local_terminating:
        return f"no endpoint on {view.name} is ready, and {_count(count, 'terminating one')} still {_serve(count)}"
    return f"{count} of {_count(usable.known, 'endpoint')} {'is' if count == 1 else 'are'} ready on {view.name}"


def _why_none(service: Service, port: ApiServicePort, usable: Usable, known: KnownEndpoints, view: NodeView) -> Origin:
    name = service.metadata.name
    if not known.slices:
        return origin_of(
            service, "", reason=f"no EndpointSlice of {view.family.api_name} has the label {SERVICE_NAME_LABEL}={name}"
        )
    if usable.known:
        none_ready = "its only endpoint is not ready"
        if usable.known > 1:
            none_ready = f"none of its {usable.known} endpoints is ready"
        return _slices_origin(service, known, none_ready)
    if known.by_port:
        title = f'named "{port.name}"' if port.name else "without a name"
        return _slices_origin(service, known, f"none of its EndpointSlices has a {port.protocol} port {title}")
    return _slices_origin(service, known, "its EndpointSlices hold no endpoints")


def _slices_origin(service: Service, known: KnownEndpoints, reason: str) -> Origin:
    """The Service's first slice stands for all of them."""
    if len(known.slices) > 1:
        reason += f", in {len(known.slices)} slices"
    return Origin(
        kind="EndpointSlice",
        namespace=service.metadata.namespace,
        name=known.slices[0],
        field="endpoints",
        reason=reason,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _serve(number: int) -> str:
    return "serves" if number == 1 else "serve"
