"""Which changes call which controller, and what each one sees of the caches. Pure.

A Controller turns changes of what it watches into keys, and a key into the view that its `reconcile` judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from fairway.api.core import ZONE_LABEL
from fairway.api.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCES,
    SERVICES,
    Resource,
)
from fairway.api.types import Key, Object, key_of
from fairway.controllers import (
    deployment,
    endpoints,
    endpointslice,
    garbage,
    loadbalancer,
    replicaset,
    scheduler,
)
from fairway.controllers.address_pool import AddressPool
from fairway.controllers.cache import Caches
from fairway.controllers.endpoint_pods import selects_pod
from fairway.controllers.objects import (
    condition,
    controller_of,
    is_controlled_by,
    labels,
    meta,
    name,
    namespace,
    owners,
    selects,
    spec,
    status,
    uid,
)
from fairway.controllers.pods import is_active, is_finished, node_of
from fairway.controllers.writes import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object of a resource appeared (previous None), changed, or went (current None).

    news: False for the echo of a write whose answer is in the cache already.
    """

    resource: Resource
    previous: Object | None
    current: Object | None
    news: bool = True

    @property
    def states(self) -> tuple[Object, ...]:
        """Before and after, as far as there is one."""
        return tuple(one for one in (self.previous, self.current) if one is not None)

    @property
    def key(self) -> Key:
        return key_of(self.states[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a reconcile gets besides the caches.

    failure: why the last attempt at this key could not do what it wanted, as (reason, message).
    """

    now: datetime
    random: Random
    failure: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A reconcile with its wiring.

    name: the component in its events. keys: what a change gives it to do; the caches have the change already.
    workers: how many keys it may work on at a time; 1 where keys compete for the same nodes or addresses.
    """

    name: str
    watches: tuple[Resource, ...]
    keys: Callable[[Change, Caches], Iterable[Hashable]]
    reconcile: Callable[[Any, Caches, Attempt], list[Write]]
    workers: int = 5


class Ref(NamedTuple):
    """An object of any kind: the garbage collector's key."""

    resource: Resource
    key: Key


def all_controllers(pool: AddressPool) -> tuple[Controller, ...]:
    """Every controller of this package. pool: load balancer addresses.

    EndpointSlices come first: where one change gives work to several, data planes wait for them.
    """

    def load_balancer(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
        return _reconcile_load_balancer(key, caches, pool)

    return (
        Controller(
            name="endpoint-slice-controller",
            watches=(SERVICES, PODS, NODES, ENDPOINT_SLICES),
            keys=_slice_keys,
            reconcile=_reconcile_slices,
        ),
        Controller(
            name="deployment-controller",
            watches=(DEPLOYMENTS, REPLICA_SETS, PODS, NODES),
            keys=_deployment_keys,
            reconcile=_reconcile_deployment,
        ),
        Controller(
            name="replicaset-controller",
            watches=(REPLICA_SETS, PODS),
            keys=_replica_set_keys,
            reconcile=_reconcile_replica_set,
        ),
        Controller(
            name=scheduler.SCHEDULER_NAME,
            watches=(PODS, NODES, SERVICES),
            keys=_scheduler_keys,
            reconcile=_reconcile_pod,
            workers=1,
        ),
        Controller(
            name="endpoint-controller",
            watches=(SERVICES, PODS, ENDPOINTS),
            keys=_endpoints_keys,
            reconcile=_reconcile_endpoints,
        ),
        Controller(
            name="service-controller",
            watches=(SERVICES, NODES, ENDPOINT_SLICES),
            keys=_load_balancer_keys,
            reconcile=load_balancer,
            workers=1,
        ),
        Controller(
            name="garbage-collector-controller",
            watches=tuple(resource for resource in RESOURCES if resource != EVENTS),
            keys=_garbage_keys,
            reconcile=_reconcile_garbage,
            workers=10,
        ),
    )


# Deployments


def _deployment_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == DEPLOYMENTS:
        yield change.key
    elif change.resource == REPLICA_SETS:
        yield from _keys_of_controllers(change, DEPLOYMENTS, caches)
    elif change.resource == PODS and (change.current is None or is_finished(change.current)):
        # Only Recreate waits for pods, and only for their end.
        replica_set = _controller(change.states[0], REPLICA_SETS, caches)
        owner = _controller(replica_set, DEPLOYMENTS, caches) if replica_set else None
        if owner is not None and (spec(owner).get("strategy") or {}).get("type") == "Recreate":
            yield key_of(owner)
    elif change.resource == NODES and change.current is None:
        yield from caches[DEPLOYMENTS]


def _reconcile_deployment(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[DEPLOYMENTS].get(key)
    if found is None:
        return []
    cache = caches[REPLICA_SETS]
    mine = [one for one in cache.owned_by(uid(found)) if is_controlled_by(one, found)]
    pods = [pod for one in mine for pod in caches[PODS].owned_by(uid(one))]
    view = deployment.DeploymentView(
        deployment=found,
        replica_sets=[*mine, *cache.without_controller(key.namespace)],
        # A pod on a node that is gone runs nowhere, and nobody is left to say so.
        pods=[pod for pod in pods if not node_of(pod) or Key("", node_of(pod)) in caches[NODES]],
        strangers=frozenset(
            name(one)
            for one in cache.in_namespace(key.namespace)
            if controller_of(one) is not None and not is_controlled_by(one, found)
        ),
    )
    return deployment.reconcile(view, attempt.now)


# ReplicaSets


def _replica_set_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == REPLICA_SETS:
        yield change.key
    elif change.resource == PODS:
        yield from _keys_of_controllers(change, REPLICA_SETS, caches)


def _reconcile_replica_set(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[REPLICA_SETS].get(key)
    if found is None:
        return []
    cache = caches[PODS]
    mine = [pod for pod in cache.owned_by(uid(found)) if is_controlled_by(pod, found)]
    controller = controller_of(found)
    siblings = caches[REPLICA_SETS].owned_by(str(controller.get("uid"))) if controller else [found]
    related = Counter(node_of(pod) for one in siblings for pod in cache.owned_by(uid(one)) if is_active(pod))
    view = replicaset.ReplicaSetView(
        replica_set=found,
        pods=[*mine, *cache.without_controller(key.namespace)],
        related=related,
        failure=attempt.failure,
    )
    return replicaset.reconcile(view, attempt.now, attempt.random)


# The scheduler


def _scheduler_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == PODS:
        pod = change.current
        if pod is not None and scheduler.is_waiting(pod):
            yield change.key
        elif pod is None or is_finished(pod):
            # Its host ports, and its place, are free.
            yield from _waiting_pods(caches)
    elif change.resource == NODES and _differs(change, _scheduling_facts):
        yield from _waiting_pods(caches)


def _waiting_pods(caches: Caches) -> Iterator[Key]:
    return (key for key, pod in caches[PODS].items() if scheduler.is_waiting(pod))


def _scheduling_facts(node: Object) -> object:
    ready = condition(node, "Ready") or {}
    allocatable = status(node).get("allocatable") or {}
    return labels(node), spec(node), ready.get("status"), allocatable.get("pods")


def _reconcile_pod(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    pod = caches[PODS].get(key)
    if pod is None or not scheduler.is_waiting(pod):
        return []
    view = scheduler.SchedulingView(
        pod=pod,
        nodes=list(caches[NODES].values()),
        bound=[one for one in caches[PODS].values() if node_of(one)],
        services=caches[SERVICES].in_namespace(key.namespace),
    )
    return scheduler.reconcile(view, attempt.now)


# EndpointSlices and Endpoints


def _slice_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == ENDPOINT_SLICES:
        for one in change.states if change.news else ():
            service = labels(one).get(endpointslice.SERVICE_NAME_LABEL)
            if service and labels(one).get(endpointslice.MANAGED_BY_LABEL) == endpointslice.MANAGED_BY:
                yield Key(namespace(one), service)
    elif change.resource == NODES:
        if _differs(change, lambda node: labels(node).get(ZONE_LABEL, "")):
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
        slices=_slices_of(service, caches),
    )
    return endpointslice.reconcile(view)


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
    elif change.resource == PODS and _differs(change, _endpoint_facts):
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


def _slices_of(service: Object, caches: Caches) -> list[Object]:
    return [
        one
        for one in caches[ENDPOINT_SLICES].in_namespace(namespace(service))
        if labels(one).get(endpointslice.SERVICE_NAME_LABEL) == name(service)
    ]


# Load balancers


def _load_balancer_keys(change: Change, caches: Caches) -> Iterator[Key]:
    services = caches[SERVICES]
    if change.resource == SERVICES:
        yield change.key
        if _differs(change, loadbalancer.addresses) and change.previous is not None:
            # An address may have come free.
            yield from (key for key, service in services.items() if loadbalancer.is_waiting(service))
    elif change.resource == NODES and _differs(change, _holding_facts):
        yield from (key for key, service in services.items() if loadbalancer.is_ours(service))
    elif change.resource == ENDPOINT_SLICES:
        for one in change.states:
            key = Key(namespace(one), labels(one).get(endpointslice.SERVICE_NAME_LABEL, ""))
            if key in services and loadbalancer.is_ours(services[key]):
                yield key


def _holding_facts(node: Object) -> object:
    ready = condition(node, "Ready") or {}
    return ready.get("status"), loadbalancer.EXCLUDE_LABEL in labels(node), meta(node).get("deletionTimestamp")


def _reconcile_load_balancer(key: Key, caches: Caches, pool: AddressPool) -> list[Write]:
    service = caches[SERVICES].get(key)
    if service is None:
        return []
    view = loadbalancer.LoadBalancerView(
        service=service,
        others=caches[SERVICES].values(),
        nodes=list(caches[NODES].values()),
        slices=_slices_of(service, caches),
    )
    return loadbalancer.reconcile(view, pool)


# The garbage collector


def _garbage_keys(change: Change, caches: Caches) -> Iterator[Ref]:
    """The object itself where its owners are new; its dependents where it goes; its owners where they wait for it."""
    if change.current is not None and _differs(change, owners) and owners(change.current):
        yield Ref(change.resource, change.key)
    if change.current is None or (garbage.is_collecting(change.current) and _differs(change, garbage.is_collecting)):
        if change.current is not None:
            yield Ref(change.resource, change.key)
        for resource, cache in caches.items():
            yield from (Ref(resource, key_of(one)) for one in cache.owned_by(uid(change.states[0])))
    if change.current is None or _differs(change, owners):
        for reference in owners(change.states[0]):
            owner = garbage.owner_of(reference, change.states[0])
            known = caches[owner.resource].get(owner.key) if owner and owner.resource in caches else None
            if owner is not None and known is not None and garbage.is_collecting(known):
                yield Ref(owner.resource, owner.key)


def _reconcile_garbage(ref: Ref, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[ref.resource].get(ref.key)
    if found is None:
        return []
    known: dict[str, Object] = {}
    for reference in owners(found):
        owner = garbage.owner_of(reference, found)
        if owner is None:
            continue
        if owner.resource not in caches:
            known[owner.uid] = {}
            continue
        obj = caches[owner.resource].get(owner.key)
        if obj is not None and uid(obj) == owner.uid:
            known[owner.uid] = obj
    dependents = [
        garbage.Dependent(resource=resource, object=one)
        for resource, cache in caches.items()
        for one in cache.owned_by(uid(found))
    ]
    view = garbage.GarbageView(resource=ref.resource, object=found, owners=known, dependents=dependents)
    return garbage.reconcile(view)


# What they share


def _differs(change: Change, facts: Callable[[Object], object]) -> bool:
    """Whether these facts changed; always, where the object appeared or went."""
    return change.previous is None or change.current is None or facts(change.previous) != facts(change.current)


def _controller(obj: Object, resource: Resource, caches: Caches) -> Object | None:
    """The object of that kind that controls this one, as far as it is known."""
    reference = controller_of(obj)
    if reference is None or reference.get("kind") != resource.kind:
        return None
    found = caches[resource].get(Key(namespace(obj), str(reference.get("name"))))
    return found if found is not None and uid(found) == reference.get("uid") else None


def _keys_of_controllers(change: Change, resource: Resource, caches: Caches) -> Iterator[Key]:
    """Objects of `resource` that control what changed, or could adopt it."""
    for one in change.states:
        owner = _controller(one, resource, caches)
        if owner is not None:
            yield key_of(owner)
    if change.current is not None and controller_of(change.current) is None:
        for candidate in caches[resource].in_namespace(change.key.namespace):
            if selects(spec(candidate).get("selector"), labels(change.current)):
                yield key_of(candidate)
