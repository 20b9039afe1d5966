from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fairway.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS
from fairway.controllers.daemonset import DaemonSetView, eligibility, reconcile
from fairway.controllers.daemonset_revisions import template_patch
from fairway.controllers.writes import Create, Delete, Recheck, Record, Update, Write
from tests.controllers.objects import NOW, controlled_by, metadata, node, pod

Json = dict[str, Any]
NODES = [node("a"), node("b"), node("c")]
BARRED = {"key": "k", "effect": "NoSchedule"}
DRIVING = {"key": "k", "effect": "NoExecute"}


def daemon_set(*, pod_spec: Json | None = None, **spec: Any) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}], **(pod_spec or {})}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata("ds", generation=1),
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            **spec,
        },
        "status": {},
    }


DS = daemon_set()
SURGING = daemon_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})


def one(where: str, *, old: bool = False, name: str = "", ready: bool = True, **fields: Any) -> Json:
    labels = {"app": "web", "controller-revision-hash": "old" if old else "new"}
    return pod(name or f"on-{where}", node=where, labels=labels, owner=DS, ready=ready, **fields)


def revision(owner: Json, number: int = 1, *, digest: str = "new", **data: Any) -> Json:
    """The ControllerRevision of a DaemonSet's template, or of other `data`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(
            f"ds-{digest}",
            labels={"app": "web", "controller-revision-hash": digest},
            ownerReferences=[controlled_by(owner)],
        ),
        "data": data or template_patch(owner),
        "revision": number,
    }


def done(owner: Json, *pods: Json, nodes: list[Json] = NODES, **view: Any) -> list[Write]:
    """One step of a DaemonSet whose history is in order, unless `revisions` says otherwise."""
    revisions = view.pop("revisions", [revision(owner)])
    view_of = DaemonSetView(daemon_set=owner, pods=pods, nodes=nodes, revisions=revisions, **view)
    return reconcile(view_of, NOW, Random(0))


def created(writes: list[Write]) -> list[str]:
    """The nodes that get a pod."""
    terms = [
        write.body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for write in writes
        if isinstance(write, Create)
    ]
    return [term["nodeSelectorTerms"][0]["matchFields"][0]["values"][0] for term in terms]


def deleted(writes: list[Write]) -> list[str]:
    return [write.key.name for write in writes if isinstance(write, Delete)]


def test_a_pod_is_made_for_its_node_and_puts_up_with_what_ails_a_node() -> None:
    _, create, record = done(daemon_set(pod_spec={"hostNetwork": True}), nodes=[node("a")])
    assert isinstance(create, Create)
    assert create.resource == PODS
    body = create.body
    assert body["metadata"]["generateName"] == "ds-"
    assert body["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"
    assert body["metadata"]["labels"] == {"app": "web", "controller-revision-hash": "new"}
    assert [(each["key"].split("/")[1], each["effect"]) for each in body["spec"]["tolerations"]] == [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    ]
    assert record == Record(
        regarding=daemon_set(pod_spec={"hostNetwork": True}),
        reason="SuccessfulCreate",
        message=f"Created pod: {body['metadata']['name']}",
    )
    assert "hostNetwork" not in DS["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("where", "pod_spec", "eligible"),
    [
        (node("a"), {}, (True, True)),
        (node("a", unschedulable=True), {}, (True, True)),
        (node("a", taints=[BARRED]), {}, (False, True)),
        (node("a", taints=[DRIVING]), {}, (False, False)),
        (node("a", taints=[DRIVING]), {"tolerations": [{"operator": "Exists"}]}, (True, True)),
        (node("a", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]), {}, (True, True)),
        (node("a"), {"nodeSelector": {"disk": "ssd"}}, (False, False)),
        (node("a"), {"nodeName": "b"}, (False, False)),
    ],
)
def test_which_nodes_have_a_pod(where: Json, pod_spec: Json, eligible: tuple[bool, bool]) -> None:
    assert eligibility(daemon_set(pod_spec=pod_spec), where) == eligible


GOING = one("a", terminating=True)


@pytest.mark.parametrize(
    ("owner", "pods", "creates", "deletes"),
    [
        (DS, [], ["a", "b", "c"], []),
        (DS, [one("a"), one("b")], ["c"], []),
        (DS, [GOING, one("b"), one("c")], [], []),
        (DS, [one("a"), one("a", name="z"), one("b"), one("c")], [], ["z"]),
        (DS, [one("a", phase="Failed"), one("b"), one("c")], [], ["on-a"]),
        (DS, [one("a"), one("b"), one("c"), one("gone")], [], []),
        # One at a time, those that serve nobody first.
        (DS, [one(n, old=True) for n in "abc"], [], ["on-a"]),
        (DS, [one("a"), one("b", old=True), one("c", old=True)], [], ["on-b"]),
        (DS, [one("a", ready=False), one("b", old=True), one("c", old=True)], [], []),
        (DS, [one("a", old=True), one("b", old=True, ready=False), one("c", old=True)], [], ["on-b"]),
        (daemon_set(updateStrategy={"type": "OnDelete"}), [one(n, old=True) for n in "abc"], [], []),
        # With a surge the new one is there before the old one goes.
        (SURGING, [one(n, old=True) for n in "abc"], ["a"], []),
        (SURGING, [*(one(n, old=True) for n in "abc"), one("a", name="n", ready=False)], [], []),
        (SURGING, [*(one(n, old=True) for n in "abc"), one("a", name="n")], ["b"], ["on-a"]),
    ],
)
def test_pods_that_are_made_and_removed(owner: Json, pods: list[Json], creates: list[str], deletes: list[str]) -> None:
    writes = done(owner, *pods)
    assert (created(writes), deleted(writes)) == (creates, deletes)


def test_a_pod_leaves_a_node_that_drives_it_out_or_no_longer_fits() -> None:
    nodes = [node("a", taints=[DRIVING]), node("b", taints=[BARRED]), node("c")]
    writes = done(DS, one("a"), one("b"), one("c"), nodes=nodes)
    assert (created(writes), deleted(writes)) == ([], ["on-a"])


def test_a_pod_without_a_node_yet_counts_for_the_one_it_is_meant_for() -> None:
    writes = done(DS, nodes=[node("a")])
    [create] = [write for write in writes if isinstance(write, Create)]
    waiting = {**create.body, "status": {"phase": "Pending"}}
    waiting["metadata"] = {**waiting["metadata"], "uid": "u"}
    assert created(done(DS, waiting, nodes=[node("a")])) == []
    assert deleted(done(DS, waiting, nodes=[node("b")])) == [waiting["metadata"]["name"]], "its node is gone"


def test_the_status_counts() -> None:
    nodes = [*NODES, node("d", taints=[BARRED])]
    [update, *_] = done(DS, one("a"), one("b", old=True, ready=False), one("d"), nodes=nodes)
    assert isinstance(update, Update)
    assert (update.resource, update.subresource) == (DAEMON_SETS, "status")
    assert update.body["status"] == {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 3,
        "numberReady": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
        "numberUnavailable": 2,
        "observedGeneration": 1,
    }
    again = done(
        {**DS, "status": update.body["status"]}, one("a"), one("b", old=True, ready=False), one("d"), nodes=nodes
    )
    assert not any(isinstance(write, Update) for write in again)


def test_a_pod_that_is_ready_too_shortly_is_looked_at_again() -> None:
    writes = done(daemon_set(minReadySeconds=10), one("a", ready_since="2025-06-01T11:59:54Z"), nodes=[node("a")])
    assert writes[-1] == Recheck(after_s=4.0)


def test_one_that_is_being_deleted_makes_nothing() -> None:
    going = {**DS, "metadata": {**DS["metadata"], "deletionTimestamp": "2025-06-01T11:00:00Z"}}
    assert done(going) == []


def test_pods_tell_how_often_the_template_had_changed() -> None:
    noted = {**DS, "metadata": {**DS["metadata"], "annotations": {"deprecated.daemonset.template.generation": "3"}}}
    [create, *_] = [write for write in done(noted, nodes=[node("a")]) if isinstance(write, Create)]
    labels = {"app": "web", "controller-revision-hash": "new", "pod-template-generation": "3"}
    assert create.body["metadata"]["labels"] == labels


def test_a_history_comes_before_pods() -> None:
    [create] = done(DS, revisions=[])
    assert isinstance(create, Create)
    assert create.resource == CONTROLLER_REVISIONS, "a pod has the label of its revision"
    [release] = done(DS, revisions=[{**(made := revision(DS)), "metadata": {**made["metadata"], "labels": {}}}])
    assert isinstance(release, Update)
    assert release.body["metadata"]["ownerReferences"] == [], "one that the selector does not fit is let go"


def test_old_revisions_go_when_the_limit_is_passed() -> None:
    kept = daemon_set(revisionHistoryLimit=1)
    old = [revision(kept, number, digest=f"old{number}", spec=number) for number in (3, 1, 2)]
    current = revision(kept, 4)
    pods = [one("a"), one("b"), pod("x", node="c", owner=DS, labels={"app": "web", "controller-revision-hash": "old1"})]
    writes = reconcile(DaemonSetView(daemon_set=kept, pods=pods, nodes=NODES, revisions=[*old, current]), NOW, Random())
    gone = [write.key.name for write in writes if isinstance(write, Delete) and write.resource != PODS]
    assert gone == ["ds-old2", "ds-old3"], "but for one that a pod is of"
