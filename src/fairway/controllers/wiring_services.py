"""What wakes the controllers of Services and what each sees: EndpointSlices (also mirrored ones), Endpoints, load
balancers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.api.core import ZONE_LABEL
from fairway.api.resources import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    NODES,
    PODS,
    SERVICES,
)
from fairway.api.types import Key, Object, key_of
from fairway.controllers import endpoints, endpointslice, endpointslice_mirroring, loadbalancer
from fairway.controllers.address_pool import AddressPool
from fairway.controllers.cache import Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.endpoint_pods import selects_pod
from fairway.controllers.objects import (
    condition,
    labels,
    meta,
    namespace,
    spec,
    status,
)
from fairway.controllers.pods import node_of
from fairway.controllers.writes import Write

# EndpointSlices and Endpoints


def _slice_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == ENDPOINT_SLICES:
        for one in change.states if change.news else ():
            service = labels(one).get(endpointslice.SERVICE_NAME_LABEL)
            if service and labels(one).get(endpointslice.MANAGED_BY_LABEL) == endpointslice.MANAGED_BY:
                yield Key(namespace(one), service)
    elif change.resource == NODES:
        if change.differs(lambda node: labels(node).get(ZONE_LABEL, "")):
            yield from caches[SERVICES]
    else:
        yield from _services(change, caches)


def _reconcile_slices(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    service = caches[SERVICES].get(key)
    if service is None:
        return []
    view = endpointslice.EndpointSliceView(
        service=service,
        pods=caches[PODS].in_namespace(key.namespace),
        nodes={node.name: obj for node, obj in caches[NODES].items()},
        slices=_slices_of(key, caches),
    )
    return endpointslice.reconcile(view)


def _mirroring_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == ENDPOINTS:
        yield change.key
    elif change.resource == SERVICES:
        if change.differs(lambda service: bool(spec(service).get("selector"))):
            yield change.key
    elif change.news:
        for one in change.states:
            service = labels(one).get(endpointslice.SERVICE_NAME_LABEL)
            if service and endpointslice_mirroring.is_ours(one):
                yield Key(namespace(one), service)


def _reconcile_mirrored(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    view = endpointslice_mirroring.MirroringView(
        endpoints=caches[ENDPOINTS].get(key),
        service=caches[SERVICES].get(key),
        slices=_slices_of(key, caches),
    )
    return endpointslice_mirroring.reconcile(view)


def _endpoints_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == ENDPOINTS:
        if change.news:
            yield change.key
    else:
        yield from _services(change, caches)


def _reconcile_endpoints(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    view = endpoints.EndpointsView(
        service=caches[SERVICES].get(key),
        pods=caches[PODS].in_namespace(key.namespace),
        endpoints=caches[ENDPOINTS].get(key),
    )
    return endpoints.reconcile(view)


def _services(change: Change, caches: Caches) -> Iterator[Key]:
    """The Service that changed, or those a changed pod is or was behind."""
    if change.resource == SERVICES:
        yield change.key
    elif change.resource == PODS and change.differs(_endpoint_facts):
        for service in caches[SERVICES].in_namespace(change.key.namespace):
            if any(selects_pod(service, pod) for pod in change.states):
                yield key_of(service)


def _endpoint_facts(pod: Object) -> object:
    """All that endpoints depend on in a pod; `spec` but for nodeName does not change."""
    told = status(pod)
    return (
        labels(pod),
        meta(pod).get("deletionTimestamp"),
        node_of(pod),
        told.get("phase"),
        told.get("podIP"),
        told.get("podIPs"),
        condition(pod, "Ready"),
    )


def _slices_of(service: Key, caches: Caches) -> list[Object]:
    return [
        one
        for one in caches[ENDPOINT_SLICES].in_namespace(service.namespace)
        if labels(one).get(endpointslice.SERVICE_NAME_LABEL) == service.name
    ]


# Load balancers


def _load_balancer_keys(change: Change, caches: Caches) -> Iterator[Key]:
    services = caches[SERVICES]
    if change.resource == SERVICES:
        yield change.key
        if change.differs(loadbalancer.addresses) and change.previous is not None:
            # An address may have come free.
            yield from (key for key, service in services.items() if loadbalancer.is_waiting(service))
    elif change.resource == NODES and change.differs(_holding_facts):
        yield from (key for key, service in services.items() if loadbalancer.is_ours(service))
    elif change.resource == ENDPOINT_SLICES:
        for one in change.states:
            key = Key(namespace(one), labels(one).get(endpointslice.SERVICE_NAME_LABEL, ""))
            if key in services and loadbalancer.is_ours(services[key]):
                yield key


def _holding_facts(node: Object) -> object:
    ready = condition(node, "Ready") or {}
    return ready.get("status"), loadbalancer.EXCLUDE_LABEL in labels(node), meta(node).get("deletionTimestamp")


def load_balancer(pools: Sequence[AddressPool]) -> Controller:
    """The controller that gives Services addresses of these pools."""

    def reconcile(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
        service = caches[SERVICES].get(key)
        if service is None:
            return []
        view = loadbalancer.LoadBalancerView(
            service=service,
            others=caches[SERVICES].values(),
            nodes=list(caches[NODES].values()),
            slices=_slices_of(key, caches),
        )
        return loadbalancer.reconcile(view, pools)

    return Controller(
        name="service-controller",
        watches=(SERVICES, NODES, ENDPOINT_SLICES),
        keys=_load_balancer_keys,
        reconcile=reconcile,
        workers=1,
    )


ENDPOINT_SLICE = Controller(
    name="endpoint-slice-controller",
    watches=(SERVICES, PODS, NODES, ENDPOINT_SLICES),
    keys=_slice_keys,
    reconcile=_reconcile_slices,
)

ENDPOINT = Controller(
    name="endpoint-controller",
    watches=(SERVICES, PODS, ENDPOINTS),
    keys=_endpoints_keys,
    reconcile=_reconcile_endpoints,
)

ENDPOINT_SLICE_MIRRORING = Controller(
    name="endpoint-slice-mirroring-controller",
    watches=(ENDPOINTS, SERVICES, ENDPOINT_SLICES),
    keys=_mirroring_keys,
    reconcile=_reconcile_mirrored,
)
