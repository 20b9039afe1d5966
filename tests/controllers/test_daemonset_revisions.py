from __future__ import annotations

from typing import Any

from fairway.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS
from fairway.api.types import Key
from fairway.controllers.daemonset_revisions import judge, surplus, template_patch
from fairway.controllers.names import template_hash
from fairway.controllers.writes import Create, Delete, Update
from tests.controllers.objects import metadata, pod
from tests.controllers.test_daemonset import DS, daemon_set, revision

Json = dict[str, Any]
DIGEST = template_hash(DS["spec"]["template"])


def test_the_patch_brings_the_template_back_and_reads_as_kubectls_own() -> None:
    assert template_patch(DS) == {
        "spec": {
            "template": {
                "$patch": "replace",
                "metadata": {"creationTimestamp": None, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c"}]},
            }
        }
    }
    unsorted = daemon_set(pod_spec={"volumes": [{"name": "v", "emptyDir": {}}], "nodeName": "n"})
    template = template_patch(unsorted)["spec"]["template"]
    assert list(template) == ["$patch", "metadata", "spec"]
    assert list(template["spec"]) == ["containers", "nodeName", "volumes"]
    assert list(template["spec"]["volumes"][0]) == ["emptyDir", "name"]


def test_a_new_template_is_a_new_revision() -> None:
    noted = {**DS, "metadata": {**DS["metadata"], "annotations": {"kubernetes.io/change-cause": "why"}}}
    old = revision(DS, 4, digest="old", spec=1)
    history = judge(noted, [old], [], ())
    [create] = history.writes
    assert isinstance(create, Create)
    assert history.old == (old,)
    assert create.body == {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"ds-{DIGEST}",
            "namespace": "default",
            "labels": {"app": "web", "controller-revision-hash": DIGEST},
            "annotations": {"kubernetes.io/change-cause": "why"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "DaemonSet",
                    "name": "ds",
                    "uid": "uid-ds",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "data": template_patch(DS),
        "revision": 5,
    }


def test_a_name_that_a_stranger_has_is_counted_and_then_another() -> None:
    [update] = judge(DS, [], [], {f"ds-{DIGEST}"}).writes
    assert isinstance(update, Update)
    assert (update.resource, update.subresource, update.body["status"]) == (
        DAEMON_SETS,
        "status",
        {"collisionCount": 1},
    )
    [create] = judge(update.body, [], [], {f"ds-{DIGEST}"}).writes
    assert isinstance(create, Create)
    assert create.body["metadata"]["name"] == f"ds-{template_hash(DS['spec']['template'], 1)}"


def test_a_template_of_old_is_the_newest_revision_again() -> None:
    back, newer = revision(DS, 1, digest="back"), revision(DS, 2, digest="newer", spec=1)
    history = judge(DS, [back, newer], [], ())
    assert (history.digest, history.old) == ("back", (newer,))
    assert history.writes == (Update(resource=CONTROLLER_REVISIONS, body={**back, "revision": 3}),)
    assert judge(DS, [{**back, "revision": 3}, newer], [], ()).writes == ()


def test_of_two_revisions_of_a_template_one_stays_with_the_pods_of_both() -> None:
    double, kept = revision(DS, 1, digest="a"), revision(DS, 2, digest="b")
    pods = [
        pod(name, owner=DS, labels={"app": "web", "controller-revision-hash": digest})
        for name, digest in (("p", "a"), ("q", "b"), ("r", "other"))
    ]
    history = judge(DS, [kept, double], pods, ())
    [relabel, delete] = history.writes
    assert isinstance(relabel, Update)
    assert (relabel.resource, relabel.body["metadata"]["name"]) == (PODS, "p")
    assert relabel.body["metadata"]["labels"]["controller-revision-hash"] == "b"
    assert delete == Delete(resource=CONTROLLER_REVISIONS, key=Key("default", "ds-a"), uid="uid-ds-a")
    assert history.digest == "b"


def test_a_revision_without_the_label_gets_its_name_for_it() -> None:
    bare = {**revision(DS, 1), "metadata": metadata("by-hand", labels={"app": "web"})}
    [update] = judge(DS, [bare], [], ()).writes
    assert isinstance(update, Update)
    assert update.body["metadata"]["labels"] == {"app": "web", "controller-revision-hash": "by-hand"}


def test_ten_old_revisions_are_kept_unless_told_otherwise() -> None:
    old = [revision(DS, number, digest=f"old{number}", spec=number) for number in range(1, 13)]
    assert [write.key.name for write in surplus(DS, old, []) if isinstance(write, Delete)] == ["ds-old1", "ds-old2"]
    assert len(surplus(daemon_set(revisionHistoryLimit=0), old, [])) == 12
