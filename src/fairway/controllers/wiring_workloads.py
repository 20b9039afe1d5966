"""What wakes the controllers of workloads and what each sees: Deployments, ReplicaSets, the scheduler. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fairway.api.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from fairway.api.types import Key, Object, key_of
from fairway.controllers import daemonset, deployment, replicaset, scheduler
from fairway.controllers.cache import Cache, Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.objects import (
    condition,
    controller_of,
    is_controlled_by,
    is_terminating,
    labels,
    name,
    namespace,
    selects,
    spec,
    status,
    uid,
)
from fairway.controllers.pods import is_active, is_finished, node_of
from fairway.controllers.scheduling import SchedulingView, priority
from fairway.controllers.writes import Write

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
        strangers=_strangers(found, cache),
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


# DaemonSets


def _daemon_set_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == DAEMON_SETS:
        yield change.key
    elif change.resource in (PODS, CONTROLLER_REVISIONS):
        yield from _keys_of_controllers(change, DAEMON_SETS, caches)
    elif change.resource == NODES and change.differs(_daemon_facts):
        yield from caches[DAEMON_SETS]


def _daemon_facts(node: Object) -> object:
    return labels(node), spec(node).get("taints")


def _reconcile_daemon_set(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[DAEMON_SETS].get(key)
    if found is None:
        return []
    view = daemonset.DaemonSetView(
        daemon_set=found,
        pods=_owned_or_free(found, caches[PODS]),
        nodes=list(caches[NODES].values()),
        revisions=_owned_or_free(found, caches[CONTROLLER_REVISIONS]),
        strangers=_strangers(found, caches[CONTROLLER_REVISIONS]),
    )
    return daemonset.reconcile(view, attempt.now, attempt.random)


# The scheduler


def _scheduler_keys(change: Change, caches: Caches) -> Iterator[Key]:
    if change.resource == PODS:
        pod = change.current
        if pod is not None and scheduler.is_waiting(pod):
            yield change.key
        elif pod is None or is_finished(pod):
            # Its host ports, and its place, are free.
            yield from _waiting_pods(caches)
        elif node_of(pod) and change.differs(_company_facts):
            yield from (key for key in _waiting_pods(caches) if scheduler.minds_company(caches[PODS][key]))
    elif change.resource == NODES and change.differs(_scheduling_facts):
        yield from _waiting_pods(caches)
    elif change.resource == NAMESPACES and change.differs(labels):
        yield from (key for key in _waiting_pods(caches) if scheduler.minds_company(caches[PODS][key]))


def _waiting_pods(caches: Caches) -> Iterator[Key]:
    return (key for key, pod in caches[PODS].items() if scheduler.is_waiting(pod))


def _scheduling_facts(node: Object) -> object:
    ready = condition(node, "Ready") or {}
    return labels(node), spec(node), ready.get("status"), status(node).get("allocatable")


def _company_facts(pod: Object) -> object:
    return node_of(pod), labels(pod), is_terminating(pod)


def _reconcile_pod(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    pod = caches[PODS].get(key)
    if pod is None or not scheduler.is_waiting(pod):
        return []
    view = SchedulingView(
        pod=pod,
        nodes=list(caches[NODES].values()),
        bound=[one for other in caches[PODS].values() if (one := _placed(other, pod)) is not None],
        services=caches[SERVICES].in_namespace(key.namespace),
        namespaces={name(one): labels(one) for one in caches[NAMESPACES].values()},
    )
    return scheduler.reconcile(view, attempt.now)


def _placed(other: Object, pod: Object) -> Object | None:
    """Another pod as one that has a node: its own, or the one where others make way for it, unless for a lesser pod."""
    if node_of(other):
        return other
    nominated = status(other).get("nominatedNodeName")
    if not nominated or uid(other) == uid(pod) or not is_active(other) or priority(other) < priority(pod):
        return None
    return {**other, "spec": {**spec(other), "nodeName": nominated}}


# What they share


def _owned_or_free(owner: Object, cache: Cache) -> list[Object]:
    """What the owner controls, and what it could adopt."""
    mine = [one for one in cache.owned_by(uid(owner)) if is_controlled_by(one, owner)]
    return [*mine, *cache.without_controller(namespace(owner))]


def _strangers(owner: Object, cache: Cache) -> frozenset[str]:
    """Names in the owner's namespace that somebody else's objects have."""
    return frozenset(
        name(one)
        for one in cache.in_namespace(namespace(owner))
        if controller_of(one) is not None and not is_controlled_by(one, owner)
    )


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


DEPLOYMENT = Controller(
    name="deployment-controller",
    watches=(DEPLOYMENTS, REPLICA_SETS, PODS, NODES),
    keys=_deployment_keys,
    reconcile=_reconcile_deployment,
)

REPLICA_SET = Controller(
    name="replicaset-controller",
    watches=(REPLICA_SETS, PODS),
    keys=_replica_set_keys,
    reconcile=_reconcile_replica_set,
)

DAEMON_SET = Controller(
    name="daemonset-controller",
    watches=(DAEMON_SETS, CONTROLLER_REVISIONS, PODS, NODES),
    keys=_daemon_set_keys,
    reconcile=_reconcile_daemon_set,
)

SCHEDULER = Controller(
    name=scheduler.SCHEDULER_NAME,
    watches=(PODS, NODES, SERVICES, NAMESPACES),
    keys=_scheduler_keys,
    reconcile=_reconcile_pod,
    workers=1,
)
