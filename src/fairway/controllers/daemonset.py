"""DaemonSets: one pod on each node that can have it. Pure.

Rules: `pkg/controller/daemon/daemon_controller.go`, `update.go`; the pods are bound by the scheduler.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from fairway.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS
from fairway.api.types import Object, key_of
from fairway.controllers import names
from fairway.controllers.affinity import matches_node_selection, names_asked_for
from fairway.controllers.daemonset_revisions import REVISION, judge, surplus
from fairway.controllers.deployment_rolling import resolve
from fairway.controllers.objects import (
    annotations_of,
    changed,
    controller_reference,
    created,
    is_terminating,
    labels,
    meta,
    name,
    namespace,
    spec,
    status,
    uid,
    without_zeros,
)
from fairway.controllers.ownership import claim
from fairway.controllers.pods import FAILED, available_at, is_available, is_finished, is_ready, node_of, phase
from fairway.controllers.taints import (
    BARRING,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    UNREACHABLE,
    UNSCHEDULABLE,
    taints_of,
    tolerates,
)
from fairway.controllers.writes import Create, Delete, EventType, Recheck, Record, Update, Write

TEMPLATE_GENERATION = "pod-template-generation"
"""Label of a pod: how often the template had changed when it was made (`extensions.DaemonSetTemplateGenerationKey`)."""
_GENERATION_NOTE = "deprecated.daemonset.template.generation"
BURST = 250
"""Pods created or deleted by one reconcile at most (`BurstReplicas`)."""
_PRESSURES = ("disk-pressure", "memory-pressure", "pid-pressure")
_TOLERATED = (
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
    *((f"node.kubernetes.io/{one}", NO_SCHEDULE) for one in _PRESSURES),
    (UNSCHEDULABLE, NO_SCHEDULE),
)
"""What every daemon pod puts up with (`pkg/controller/daemon/util`, AddOrUpdateDaemonPodTolerations)."""
_NETWORK_UNAVAILABLE = ("node.kubernetes.io/network-unavailable", NO_SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSetView:
    """pods, revisions: those it controls and those of its namespace without a controller. nodes: all of the cluster.

    strangers: names of revisions in its namespace that belong to somebody else.
    """

    daemon_set: Object
    pods: Sequence[Object]
    nodes: Sequence[Object]
    revisions: Sequence[Object] = ()
    strangers: Collection[str] = ()


def reconcile(view: DaemonSetView, now: datetime, random: Random) -> list[Write]:
    """Adopt and release, or else put the history right, or else write the status and create or delete pods."""
    daemon_set = view.daemon_set
    claimed = claim(daemon_set, DAEMON_SETS, view.pods, PODS)
    known = claim(daemon_set, DAEMON_SETS, view.revisions, CONTROLLER_REVISIONS)
    if claimed.writes or known.writes:
        return [*claimed.writes, *known.writes]
    if is_terminating(daemon_set):
        return []
    history = judge(daemon_set, known.owned, claimed.owned, view.strangers)
    if history.writes:
        return list(history.writes)
    state = _State(daemon_set, history.digest, view.nodes, claimed.owned, now)
    creates, deletes = state.work()
    writes: list[Write] = [*_status(state), *_deletes(daemon_set, deletes[:BURST])]
    taken = {name(pod) for pod in view.pods}
    writes += _creates(state, creates[:BURST], taken, random)
    return [*writes, *surplus(daemon_set, history.old, claimed.owned), *state.recheck()]


def eligibility(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """Whether a pod should be started on the node, and whether one that runs there may go on."""
    template = (spec(daemon_set).get("template") or {}).get("spec") or {}
    if template.get("nodeName") not in (None, "", name(node)) or not matches_node_selection(template, node):
        return False, False
    tolerations = _tolerations(template)
    bad = [one for one in taints_of(node) if one.get("effect") in BARRING and not tolerates(tolerations, one)]
    return not bad, all(one.get("effect") != NO_EXECUTE for one in bad)


class _State:
    """A DaemonSet's pods by node, old and new."""

    def __init__(
        self, daemon_set: Object, digest: str, nodes: Sequence[Object], pods: Iterable[Object], now: datetime
    ) -> None:
        self.daemon_set = daemon_set
        self.revision = digest
        self._now = now
        self._min_ready = int(spec(daemon_set).get("minReadySeconds") or 0)
        self._judged = {name(node): eligibility(daemon_set, node) for node in nodes}
        self.desired = [node for node, (run, _) in self._judged.items() if run]
        self.by_node: dict[str, list[Object]] = {}
        for pod in sorted(pods, key=created):
            self.by_node.setdefault(target(pod), []).append(pod)
        rolling = spec(daemon_set).get("updateStrategy") or {}
        limits = rolling.get("rollingUpdate") or {}
        self._rolls = rolling.get("type") != "OnDelete"
        self._surge = resolve(limits.get("maxSurge") or 0, len(self.desired), up=True)
        self._unavailable = resolve(limits.get("maxUnavailable", 1), len(self.desired), up=True)

    def work(self) -> tuple[list[str], list[Object]]:
        """Nodes to create a pod for, and pods to delete."""
        creates: list[str] = []
        deletes: list[Object] = []
        for node, (run, stay) in self._judged.items():
            there = self.by_node.get(node, [])
            live = [pod for pod in there if not is_terminating(pod)]
            if not stay:
                deletes += live
                continue
            deletes += [pod for pod in live if is_finished(pod)]
            deletes += self._surplus(live)
            if run and not there:
                creates.append(node)
        deletes += self._homeless()
        more, fewer = self._roll() if self._rolls else ([], [])
        gone = {uid(pod) for pod in deletes}
        return creates + more, deletes + [pod for pod in fewer if uid(pod) not in gone]

    def _homeless(self) -> list[Object]:
        """Pods that wait for a node that is gone; those that were bound to it are the pod garbage collector's."""
        elsewhere = [pod for node, pods in self.by_node.items() if node and node not in self._judged for pod in pods]
        return [pod for pod in elsewhere if not node_of(pod) and not is_terminating(pod)]

    def _surplus(self, live: Sequence[Object]) -> list[Object]:
        """All but the oldest of a template; with a surge an old and a new one may be there for a while."""
        running = [pod for pod in live if not is_finished(pod)]
        if not self._surge:
            return running[1:]
        old = [pod for pod in running if not self.is_new(pod)]
        new = [pod for pod in running if self.is_new(pod)]
        return old[1:] + new[1:]

    def _roll(self) -> tuple[list[str], list[Object]]:
        return self._roll_with_surge() if self._surge else ([], self._roll_in_place())

    def _roll_in_place(self) -> list[Object]:
        """Old pods to delete: those that serve nobody at once, others as far as `maxUnavailable` goes."""
        useless: list[Object] = []
        candidates: list[Object] = []
        missing = 0
        for node in self.desired:
            old, new = self._pair(node)
            if old is not None and new is None:
                (candidates if self.is_available(old) else useless).append(old)
                missing += not self.is_available(old)
            elif new is None or not self.is_available(new):
                missing += 1
        return useless + candidates[: max(self._unavailable - missing, 0)]

    def _roll_with_surge(self) -> tuple[list[str], list[Object]]:
        """Nodes that get a new pod beside the old one, and old pods whose successor is available."""
        useless: list[str] = []
        candidates: list[str] = []
        done: list[Object] = []
        surging = 0
        for node in self.desired:
            old, new = self._pair(node)
            if old is None:
                continue
            if new is None:
                (candidates if self.is_available(old) else useless).append(node)
            elif self.is_available(new):
                done.append(old)
            else:
                surging += 1
        return useless + candidates[: max(self._surge - surging, 0)], done

    def _pair(self, node: str) -> tuple[Object | None, Object | None]:
        live = [pod for pod in self.by_node.get(node, []) if not is_terminating(pod) and not is_finished(pod)]
        old = next((pod for pod in live if not self.is_new(pod)), None)
        return old, next((pod for pod in live if self.is_new(pod)), None)

    def is_new(self, pod: Object) -> bool:
        return labels(pod).get(REVISION) == self.revision

    def is_available(self, pod: Object) -> bool:
        return is_available(pod, self._min_ready, self._now)

    def counts(self) -> Mapping[str, int]:
        """The numbers of the status (`updateDaemonSetStatus`); of a node's pods the oldest is the one that counts."""
        first = {node: next((p for p in pods if not is_terminating(p)), None) for node, pods in self.by_node.items()}
        there = [pod for node in self.desired if (pod := first.get(node)) is not None]
        if self._surge:
            pairs = [self._pair(node) for node in self.desired]
            updated = [new for _, new in pairs if new is not None]
            there = [best for old, new in pairs if (best := self._better(old, new)) is not None]
        else:
            updated = [pod for pod in there if self.is_new(pod)]
        available = sum(self.is_available(pod) for pod in there)
        strays = [
            node for node, pods in self.by_node.items() if pods and self._judged.get(node, (True, True))[0] is False
        ]
        return {
            "currentNumberScheduled": len(there),
            "numberMisscheduled": len(strays),
            "desiredNumberScheduled": len(self.desired),
            "numberReady": sum(is_ready(pod) for pod in there),
            "updatedNumberScheduled": len(updated),
            "numberAvailable": available,
            "numberUnavailable": len(self.desired) - available,
        }

    def _better(self, old: Object | None, new: Object | None) -> Object | None:
        if old is None or new is None:
            return old or new
        return new if self.is_available(new) or not self.is_available(old) else old

    def recheck(self) -> Iterator[Write]:
        """Look again when the next Ready pod becomes available: no change of an object will tell."""
        moments = [available_at(pod, self._min_ready) for pods in self.by_node.values() for pod in pods]
        due = [moment for moment in moments if moment is not None and moment > self._now]
        if due:
            yield Recheck(after_s=(min(due) - self._now) / timedelta(seconds=1))


def target(pod: Object) -> str:
    """The node a daemon pod is on, or is meant for as long as it has none."""
    return node_of(pod) or next(iter(names_asked_for(spec(pod)) or ()), "")


def _status(state: _State) -> Iterator[Write]:
    daemon_set = state.daemon_set
    kept = {
        field: status(daemon_set)[field] for field in ("collisionCount", "conditions") if status(daemon_set).get(field)
    }
    wanted = {**kept, **state.counts(), "observedGeneration": meta(daemon_set).get("generation", 0)}
    if without_zeros(wanted) == without_zeros(status(daemon_set)):
        return
    always = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    body = changed(daemon_set)
    body["status"] = dict.fromkeys(always, 0) | without_zeros(wanted)
    yield Update(resource=DAEMON_SETS, body=body, subresource="status")


def _deletes(daemon_set: Object, pods: Sequence[Object]) -> list[Write]:
    failed = Record(regarding=daemon_set, type=EventType.WARNING, reason="FailedDelete", message="Error deleting: ")
    deletes: list[Write] = [Delete(resource=PODS, key=key_of(pod), uid=uid(pod), failed=failed) for pod in pods]
    for pod in pods:
        if phase(pod) == FAILED:
            told = f"Found failed daemon pod {namespace(pod)}/{name(pod)} on node {target(pod)}, will try to kill it"
            deletes.append(Record(regarding=daemon_set, type=EventType.WARNING, reason="FailedDaemonPod", message=told))
        told = f"Deleted pod: {name(pod)}"
        deletes.append(Record(regarding=daemon_set, reason="SuccessfulDelete", message=told))
    return deletes


def _creates(state: _State, nodes: Sequence[str], taken: set[str], random: Random) -> list[Write]:
    daemon_set = state.daemon_set
    failed = Record(regarding=daemon_set, type=EventType.WARNING, reason="FailedCreate", message="Error creating: ")
    creates: list[Write] = []
    records: list[Write] = []
    for node in nodes:
        pod_name = names.generate(f"{name(daemon_set)}-", random, taken)
        taken.add(pod_name)
        creates.append(Create(resource=PODS, body=_pod(state, node, pod_name), failed=failed))
        records.append(Record(regarding=daemon_set, reason="SuccessfulCreate", message=f"Created pod: {pod_name}"))
    return creates + records


def _pod(state: _State, node: str, pod_name: str) -> Object:
    """A pod of the template for one node: bound there by the scheduler, for its affinity allows no other."""
    daemon_set = state.daemon_set
    own = {REVISION: state.revision}
    if generation := annotations_of(daemon_set).get(_GENERATION_NOTE):
        own[TEMPLATE_GENERATION] = generation
    template = changed(spec(daemon_set).get("template") or {})
    of_template, pod_spec = template.get("metadata") or {}, template.get("spec") or {}
    metadata: Object = {
        "name": pod_name,
        "generateName": f"{name(daemon_set)}-",
        "namespace": namespace(daemon_set),
        "labels": {**(of_template.get("labels") or {}), **own},
        "ownerReferences": [controller_reference(daemon_set, DAEMON_SETS)],
    }
    metadata |= {field: of_template[field] for field in ("annotations", "finalizers") if of_template.get(field)}
    pod_spec["tolerations"] = _tolerations(pod_spec)
    affinity = pod_spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [here]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def _tolerations(pod_spec: Object) -> list[Mapping[str, str]]:
    own: list[Mapping[str, str]] = list(pod_spec.get("tolerations") or ())
    wanted = [*_TOLERATED, *([_NETWORK_UNAVAILABLE] if pod_spec.get("hostNetwork") else [])]
    standard = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    return own + [one for one in standard if one not in own]
