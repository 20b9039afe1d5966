from __future__ import annotations

import copy
from typing import Any

from fairway.api.resources import DEPLOYMENTS, REPLICA_SETS
from fairway.controllers.deployment import DeploymentView, reconcile
from fairway.controllers.deployment_revisions import history, make_replica_set, same_template
from fairway.controllers.deployment_rolling import Strategy
from fairway.controllers.names import template_hash
from fairway.controllers.writes import Create, Delete, Recheck, Record, Update, Write
from tests.controllers.objects import NOW, controlled_by, deployment, pod

HASH = template_hash(deployment()["spec"]["template"])


def reconciled(obj: dict[str, Any], *sets: dict[str, Any], **view: Any) -> list[Write]:
    return reconcile(DeploymentView(deployment=obj, replica_sets=sets, **view), NOW)


def its_set(obj: dict[str, Any], *, size: int = 3, number: int = 1, **status: int) -> dict[str, Any]:
    """The ReplicaSet of a Deployment's template, as the API would have stored it."""
    made = make_replica_set(obj, size, Strategy.of(obj), number)
    name = made["metadata"]["name"]
    made["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": f"2025-06-01T11:0{number}:00Z", "generation": 1}
    made["status"] = {"replicas": size, "observedGeneration": 1} | status
    return made


def serving(obj: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return its_set(obj, readyReplicas=3, availableReplicas=3, **fields)


def updates(writes: list[Write]) -> dict[str, dict[str, Any]]:
    return {one.body["metadata"]["name"]: one.body for one in writes if isinstance(one, Update)}


def test_the_first_step_creates_the_replica_set() -> None:
    [create, record, update, recheck] = reconciled(deployment())
    assert isinstance(create, Create)
    assert create.body == {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"web-{HASH}",
            "namespace": "default",
            "labels": {"app": "web", "pod-template-hash": HASH},
            "ownerReferences": [controlled_by(deployment())],
            "annotations": {
                "deployment.kubernetes.io/desired-replicas": "3",
                "deployment.kubernetes.io/max-replicas": "4",
                "deployment.kubernetes.io/revision": "1",
            },
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web", "pod-template-hash": HASH}},
            "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": HASH}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    assert record == Record(
        regarding=deployment(), reason="ScalingReplicaSet", message=f"Scaled up replica set web-{HASH} from 0 to 3"
    )
    assert isinstance(update, Update)
    assert (update.resource, update.subresource) == (DEPLOYMENTS, "status")
    assert update.body["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert [
        (one["type"], one["status"], one["reason"], one["message"]) for one in update.body["status"]["conditions"]
    ] == [
        ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
        ("Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "web-{HASH}"'),
    ]
    assert recheck == Recheck(after_s=601.0)


def test_a_settled_deployment_needs_nothing() -> None:
    obj = deployment()
    settled = updates(reconciled(obj, serving(obj)))["web"]
    assert reconciled(settled, serving(settled)) == []


def test_a_new_template_makes_a_second_set_within_the_surge() -> None:
    old = serving(deployment())
    [create, record, _, _] = reconciled(deployment(image="other"), old)
    assert isinstance(create, Create)
    assert create.body["spec"]["replicas"] == 1
    assert create.body["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert isinstance(record, Record)
    assert record.message.endswith("from 0 to 1")


def test_a_serving_new_pod_lets_an_old_one_go() -> None:
    obj = deployment(image="other")
    old = serving(deployment())
    new = its_set(obj, size=1, number=2, readyReplicas=1, availableReplicas=1)
    writes = reconciled(obj, old, new)
    assert updates(writes)[old["metadata"]["name"]]["spec"]["replicas"] == 2
    assert new["metadata"]["name"] not in updates(writes)
    messages = [one.message for one in writes if isinstance(one, Record)]
    assert messages == [f"Scaled down replica set {old['metadata']['name']} from 3 to 2"]


def test_scaling_changes_the_size_and_nothing_else() -> None:
    new = serving(deployment())
    writes = reconciled(deployment(replicas=5), new)
    body = updates(writes)[new["metadata"]["name"]]
    assert body["spec"] == {**new["spec"], "replicas": 5}
    assert body["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "5",
        "deployment.kubernetes.io/max-replicas": "7",
        "deployment.kubernetes.io/revision": "1",
    }


def test_annotations_of_the_deployment_reach_its_set_but_those_about_itself_do_not() -> None:
    obj = deployment()
    new = serving(obj)
    noted = copy.deepcopy(obj)
    noted["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "because",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    annotations = updates(reconciled(noted, new))[new["metadata"]["name"]]["metadata"]["annotations"]
    assert annotations == new["metadata"]["annotations"] | {"kubernetes.io/change-cause": "because"}


def test_a_paused_deployment_brings_the_set_of_its_template_up_to_date_and_forgets_idle_ones() -> None:
    obj = deployment(image="back", minReadySeconds=5, revisionHistoryLimit=0, paused=True)
    obj["metadata"]["annotations"] = {"kubernetes.io/change-cause": "because"}
    back, current = its_set(deployment(image="back"), size=0), serving(deployment(), number=2)
    idle = its_set(deployment(image="idle"), size=0, number=1)
    writes = reconciled(obj, back, current, idle)
    body = updates(writes)[back["metadata"]["name"]]
    assert body["spec"] == {**back["spec"], "minReadySeconds": 5}
    assert body["metadata"]["annotations"] == back["metadata"]["annotations"] | {
        "deployment.kubernetes.io/revision": "3",
        "deployment.kubernetes.io/revision-history": "1",
        "kubernetes.io/change-cause": "because",
    }
    assert current["metadata"]["name"] not in updates(writes), "nothing rolls"
    assert updates(writes)["web"]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert [one.key.name for one in writes if isinstance(one, Delete)] == [idle["metadata"]["name"]]
    assert [one for one in writes if isinstance(one, Record)] == []


def test_a_name_that_a_stranger_has_counts_a_collision_and_leads_to_another() -> None:
    obj = deployment()
    first = reconciled(obj, strangers=frozenset({f"web-{HASH}"}))
    counted = updates(first)["web"]
    assert [one for one in first if isinstance(one, Create)] == []
    assert counted["status"]["collisionCount"] == 1
    [create] = [one for one in reconciled(counted) if isinstance(one, Create)]
    assert create.body["metadata"]["name"] not in ("web", f"web-{HASH}")


def test_recreate_waits_for_the_last_old_pod() -> None:
    strategy = {"type": "Recreate"}
    old_one, obj = deployment(strategy=strategy), deployment(strategy=strategy, image="other")
    old = serving(old_one)
    down = updates(reconciled(obj, old))[old["metadata"]["name"]]
    assert down["spec"]["replicas"] == 0
    reported = {**down, "status": {"replicas": 1}}
    assert [one for one in reconciled(obj, reported) if isinstance(one, Create)] == []
    gone = {**down, "status": {"replicas": 0}}
    going = pod("p", owner=old, terminating=True)
    assert [one for one in reconciled(obj, gone, pods=[going]) if isinstance(one, Create)] == []
    [create] = [one for one in reconciled(obj, gone) if isinstance(one, Create)]
    assert create.body["spec"]["replicas"] == 3


def test_a_deployment_on_its_way_out_only_keeps_its_status() -> None:
    obj = deployment()
    obj["metadata"]["deletionTimestamp"] = "2025-06-01T12:00:00Z"
    writes = reconciled(obj)
    assert [type(one) for one in writes] == [Update]
    assert list(updates(writes)) == ["web"]


def test_templates_are_compared_without_the_hash_and_empty_fields() -> None:
    obj = deployment()
    made = its_set(obj)
    assert same_template(obj, made)
    made["spec"]["template"]["metadata"]["creationTimestamp"] = None
    assert same_template(obj, made)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    assert not same_template(obj, made)


def test_only_idle_sets_beyond_the_limit_are_history() -> None:
    obj = deployment(revisionHistoryLimit=1)
    sets = [its_set(deployment(image=str(number)), size=0, number=number) for number in (1, 2, 3)]
    assert history(obj, sets) == sets[:2]
    sets[0]["status"]["replicas"] = 1
    sets[1]["metadata"]["generation"] = 2
    assert history(obj, sets) == []
    assert history(deployment(revisionHistoryLimit=None), sets) == []


def test_history_goes_once_the_rollout_is_complete() -> None:
    obj = deployment(revisionHistoryLimit=0, image="other")
    old, new = its_set(deployment(), size=0), serving(obj, number=2)
    settled = updates(reconciled(obj, old, new))["web"]
    assert [one for one in reconciled(obj, old, new) if isinstance(one, Delete)] == []
    [delete] = [one for one in reconciled(settled, old, new) if isinstance(one, Delete)]
    assert (delete.resource, delete.key.name) == (REPLICA_SETS, old["metadata"]["name"])
