"""What wakes the controllers of nodes and of the pods they leave behind, and what each sees. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from fairway.api.resources import LEASES, NODES, PODS
from fairway.api.types import Key, Object
from fairway.controllers import node_lifecycle, pod_garbage, tenure
from fairway.controllers.cache import Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.objects import condition, is_terminating, is_true, spec, status
from fairway.controllers.pods import is_ready, node_of
from fairway.controllers.taints import NO_EXECUTE, taints_of
from fairway.controllers.writes import Write

LEASE_NAMESPACE = "kube-node-lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A node that was not known: it is new, or these controllers are."""

    node: Key


def _keys(change: Change, caches: Caches) -> Iterator[Hashable]:
    """Node keys, arrivals, and the key of our own Lease.

    A renewal wakes nobody: a node is looked at again when its Lease would have run out.
    """
    if change.resource == NODES and change.previous is None:
        yield Arrival(node=change.key)
    if change.resource == NODES and change.current is not None and change.differs(_facts):
        yield change.key
    elif change.resource == PODS and change.current is not None and change.differs(_pod_facts):
        node = caches[NODES].get(Key("", node_of(change.current)))
        if node is not None and _is_in_trouble(node):
            yield Key("", node_of(change.current))
    elif change.resource == LEASES:
        yield from _lease_keys(change, caches)


def _lease_keys(change: Change, caches: Caches) -> Iterator[Key]:
    appeared_or_went = change.previous is None or change.current is None
    if change.key.namespace == LEASE_NAMESPACE and change.previous is None:
        yield tenure.HOLDER
        yield Key("", change.key.name)
    elif change.key == tenure.HOLDER and (appeared_or_went or change.differs(_acquired)):
        yield tenure.HOLDER
        yield from caches[NODES]


def _acquired(lease: Object) -> object:
    return spec(lease).get("acquireTime")


def _facts(node: Object) -> object:
    ready = condition(node, "Ready") or {}
    return ready.get("status"), spec(node)


def _pod_facts(pod: Object) -> object:
    return node_of(pod), is_ready(pod), spec(pod).get("tolerations"), status(pod).get("phase")


def _is_in_trouble(node: Object) -> bool:
    return not is_true(node, "Ready") or any(taint.get("effect") == NO_EXECUTE for taint in taints_of(node))


def _reconcile(key: Key | Arrival, caches: Caches, attempt: Attempt) -> list[Write]:
    if isinstance(key, Arrival):
        arrived = caches[NODES].get(key.node)
        return [node_lifecycle.registered(arrived)] if arrived is not None else []
    own = caches[LEASES].get(tenure.HOLDER)
    if key == tenure.HOLDER:
        return tenure.renew(own, attempt.now)
    node = caches[NODES].get(key)
    if node is None:
        return []
    pods = _pods_of(key.name, caches) if _is_in_trouble(node) else []
    view = node_lifecycle.NodeView(
        node=node,
        lease=caches[LEASES].get(Key(LEASE_NAMESPACE, key.name)),
        judged_since=tenure.since(own, attempt.now),
        pods=pods,
    )
    return node_lifecycle.reconcile(view, attempt.now)


def _pods_of(node: str, caches: Caches) -> list[Object]:
    return [pod for pod in caches[PODS].values() if node_of(pod) == node]


# Pods that no kubelet ends


def _orphan_keys(change: Change, caches: Caches) -> Iterator[Key]:
    """Nodes that came, went or were given up, and those of pods that are bound to such a one."""
    if change.resource == NODES:
        if change.differs(pod_garbage.is_given_up):
            yield change.key
    elif change.current is not None and node_of(change.current) and change.differs(_orphan_facts):
        node = caches[NODES].get(key := Key("", node_of(change.current)))
        if node is None or pod_garbage.is_given_up(node):
            yield key


def _orphan_facts(pod: Object) -> object:
    return node_of(pod), is_terminating(pod)


def _reconcile_orphans(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    view = pod_garbage.PodGarbageView(name=key.name, node=caches[NODES].get(key), pods=_pods_of(key.name, caches))
    return pod_garbage.reconcile(view, attempt.since, attempt.now)


POD_GARBAGE_COLLECTOR = Controller(
    name="pod-garbage-collector-controller",
    watches=(NODES, PODS),
    keys=_orphan_keys,
    reconcile=_reconcile_orphans,
)

NODE_LIFECYCLE = Controller(
    name="node-controller",
    watches=(NODES, LEASES, PODS),
    keys=_keys,
    reconcile=_reconcile,
)
