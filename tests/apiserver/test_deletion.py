"""Deletion: grace periods, finalizers, propagation, preconditions, and namespaces with all in them."""

from __future__ import annotations

import pytest

from fairway.apiserver.namespaces import empty_terminating
from tests.apiserver.harness import Harness, config_map, deployment, namespace, pod, service
from tests.apiserver.urls import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, SERVICES


@pytest.fixture
def api() -> Harness:
    return Harness()


def names(answer: tuple[int, dict]) -> list[str]:
    assert answer[0] == 200, answer
    return [item["metadata"]["name"] for item in answer[1]["items"]]


def test_most_kinds_answer_a_deletion_with_a_status_some_with_the_object(api):
    made = api.create(CONFIG_MAPS, config_map("a"))
    assert api.call("DELETE", f"{CONFIG_MAPS}/a") == (
        200,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
        },
    )
    api.create(SERVICES, service("s"))
    code, gone = api.call("DELETE", f"{SERVICES}/s")
    assert (code, gone["kind"], "deletionTimestamp" in gone["metadata"]) == (200, "Service", False)
    assert api.call("DELETE", f"{SERVICES}/s")[0] == 404


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"uid": "x"}, "the UID in the precondition (x) does not match the UID in record"),
        ({"resourceVersion": "1"}, "the ResourceVersion in the precondition (1) does not match the ResourceVersion"),
    ],
)
def test_a_deletion_whose_precondition_fails_does_nothing(api, conditions, words):
    made = api.create(CONFIG_MAPS, config_map("a"))
    code, status = api.call("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": conditions})
    assert (code, words in status["message"]) == (409, True)
    assert api.get(f"{CONFIG_MAPS}/a") == (200, made)
    good = {"preconditions": {name: made["metadata"][name] for name in conditions}}
    assert api.call("DELETE", f"{CONFIG_MAPS}/a", good)[0] == 200


def test_an_object_with_finalizers_stays_until_the_last_is_gone(api):
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
    api.create(CONFIG_MAPS, body)
    api.pass_time(5)
    code, marked = api.call("DELETE", f"{CONFIG_MAPS}/a")
    assert code == 200
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    again = api.revisions.accepted
    api.pass_time(5)
    assert api.call("DELETE", f"{CONFIG_MAPS}/a") == (200, marked)
    assert api.revisions.accepted == again
    more = {"metadata": {"finalizers": ["example.com/one", "example.com/two", "example.com/three"]}}
    code, status = api.patch(f"{CONFIG_MAPS}/a", more)
    assert (code, "no new finalizers can be added if the object is being deleted" in status["message"]) == (422, True)
    assert api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": ["example.com/two"]}})[0] == 200
    assert api.get(f"{CONFIG_MAPS}/a")[0] == 200
    watch = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={api.revisions.revision}")
    assert api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})[0] == 200
    assert watch.seen() == [("DELETED", "a")]
    assert api.get(f"{CONFIG_MAPS}/a")[0] == 404


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)],
)
def test_the_propagation_policy_leaves_a_finalizer_for_the_garbage_collector(api, policy, finalizers):
    api.create(DEPLOYMENTS, deployment("d"))
    code, answer = api.call("DELETE", f"{DEPLOYMENTS}/d", {"propagationPolicy": policy})
    assert code == 200
    if finalizers is None:
        assert answer["kind"] == "Status"
        assert api.get(f"{DEPLOYMENTS}/d")[0] == 404
        return
    assert answer["metadata"]["finalizers"] == finalizers
    assert answer["metadata"]["generation"] == 2
    assert api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"finalizers": []}})[0] == 200
    assert api.get(f"{DEPLOYMENTS}/d")[0] == 404


def test_a_running_pod_gets_its_grace_period_and_goes_when_its_kubelet_says_so(api):
    api.create(PODS, pod("p", nodeName="n1", terminationGracePeriodSeconds=20))
    code, marked = api.call("DELETE", f"{PODS}/p")
    assert code == 200
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:20Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    assert marked["metadata"]["generation"] == 2
    api.pass_time(3)
    assert api.call("DELETE", f"{PODS}/p")[1]["metadata"] == marked["metadata"], "a second deletion changes nothing"
    _, longer = api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 20, "a grace period is never made longer"
    _, shorter = api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    code, gone = api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (code, gone["metadata"]["deletionGracePeriodSeconds"]) == (200, 0)
    assert api.get(f"{PODS}/p")[0] == 404


def test_a_pod_on_no_node_goes_at_once(api):
    api.create(PODS, pod("p"))
    assert api.call("DELETE", f"{PODS}/p")[0] == 200
    assert api.get(f"{PODS}/p")[0] == 404


def test_deleting_a_service_deletes_its_endpoints(api):
    api.create(SERVICES, service("s"))
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"}}
    api.create("/api/v1/namespaces/default/endpoints", endpoints)
    api.call("DELETE", f"{SERVICES}/s")
    assert api.get("/api/v1/namespaces/default/endpoints/s")[0] == 404


def test_a_collection_is_deleted_by_selector(api):
    for name, value in (("a", "1"), ("b", "1"), ("c", "2")):
        api.create(CONFIG_MAPS, config_map(name, x=value))
    assert names(api.call("DELETE", f"{CONFIG_MAPS}?labelSelector=x%3D1")) == ["a", "b"]
    assert names(api.get(CONFIG_MAPS)) == ["c"]
    code, status = api.call("DELETE", "/api/v1/configmaps")
    assert (code, status["reason"]) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("body", "code"),
    [("{", 400), ('{"gracePeriodSeconds":"x"}', 400), ('{"propagationPolicy":"x"}', 422), ('{"dryRun":["x"]}', 422)],
)
def test_delete_options_that_cannot_be_read_delete_nothing(api, body, code):
    api.create(CONFIG_MAPS, config_map("a"))
    assert api.call("DELETE", f"{CONFIG_MAPS}/a", body)[0] == code
    assert api.get(f"{CONFIG_MAPS}/a")[0] == 200


# Namespaces


def step(api):
    empty_terminating(api.registry, api.around())
    api.publish()


def conditions(api):
    _, found = api.get(f"{NAMESPACES}/n")
    return {
        one["type"]: (one["status"], one["reason"], one["message"], one["lastTransitionTime"])
        for one in found["status"]["conditions"]
    }


def test_a_deleted_namespace_takes_nothing_new_loses_its_contents_and_goes(api):
    api.create(NAMESPACES, namespace("n"))
    api.create("/api/v1/namespaces/n/configmaps", config_map("a"))
    api.create("/api/v1/namespaces/n/pods", pod("p", nodeName="n1"))
    code, marked = api.call("DELETE", f"{NAMESPACES}/n")
    assert (code, marked["status"]["phase"], marked["spec"]["finalizers"]) == (200, "Terminating", ["kubernetes"])
    code, status = api.call("POST", "/api/v1/namespaces/n/configmaps", config_map("b"))
    assert (code, status["message"]) == (
        403,
        'configmaps "b" is forbidden: unable to create new content in namespace n because it is being terminated',
    )
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    step(api)
    assert api.get("/api/v1/namespaces/n/pods/p")[1]["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.get("/api/v1/namespaces/n/configmaps/a")[0] == 200, "a pod that ends still has what it runs with"
    settled = api.revisions.accepted
    api.pass_time(5)
    step(api)
    assert api.revisions.accepted == settled, "a pod that is terminating is waited for"
    api.call("DELETE", "/api/v1/namespaces/n/pods/p", {"gracePeriodSeconds": 0})
    watch = api.watch(f"/api/v1/namespaces/n/configmaps?watch=true&resourceVersion={api.revisions.revision}")
    step(api)
    assert watch.seen() == [("DELETED", "a")]
    assert api.get(f"{NAMESPACES}/n")[0] == 404


def test_what_keeps_a_namespace_is_told_in_its_conditions(api):
    api.create(NAMESPACES, namespace("n"))
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/one"]
    api.create("/api/v1/namespaces/n/configmaps", held)
    api.create("/apis/apps/v1/namespaces/n/deployments", deployment("d"))
    for name in ("p", "q"):
        api.create("/api/v1/namespaces/n/pods", pod(name, nodeName="n1"))
    api.call("DELETE", f"{NAMESPACES}/n")
    step(api)
    told = conditions(api)
    assert list(told) == [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ]
    assert told["NamespaceDeletionContentFailure"][:2] == ("False", "ContentDeleted")
    assert told["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 2 resource instances",
        "2026-01-01T00:00:00Z",
    )
    assert told["NamespaceFinalizersRemaining"][:2] == ("False", "ContentHasNoFinalizers")
    api.pass_time(5)
    for name in ("p", "q"):
        api.call("DELETE", f"/api/v1/namespaces/n/pods/{name}", {"gracePeriodSeconds": 0})
    step(api)
    assert api.get("/apis/apps/v1/namespaces/n/deployments/d")[0] == 404
    told = conditions(api)
    assert told["NamespaceContentRemaining"][2:] == (
        "Some resources are remaining: configmaps. has 1 resource instances",
        "2026-01-01T00:00:05Z",
    )
    assert told["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: example.com/one in 1 resource instances",
        "2026-01-01T00:00:05Z",
    )
    assert told["NamespaceDeletionContentFailure"][3] == "2026-01-01T00:00:00Z", "what stays as it was keeps its time"
    assert api.patch("/api/v1/namespaces/n/configmaps/a", {"metadata": {"finalizers": None}})[0] == 200
    step(api)
    assert api.get(f"{NAMESPACES}/n")[0] == 404


def test_an_empty_namespace_stays_as_long_as_somebodys_finalizer_is_on_it(api):
    made = namespace("n")
    made["metadata"]["finalizers"] = ["example.com/one"]
    api.create(NAMESPACES, made)
    api.call("DELETE", f"{NAMESPACES}/n")
    step(api)
    _, found = api.get(f"{NAMESPACES}/n")
    assert (found["spec"], found["status"]["phase"]) == ({}, "Terminating")
    settled = api.revisions.accepted
    step(api)
    assert api.revisions.accepted == settled
    assert api.patch(f"{NAMESPACES}/n", {"metadata": {"finalizers": None}})[0] == 200
    assert api.get(f"{NAMESPACES}/n")[0] == 404


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_namespaces_a_cluster_cannot_live_without_are_not_deleted(api, name):
    code, status = api.call("DELETE", f"{NAMESPACES}/{name}")
    message = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert (code, status["reason"], status["message"]) == (403, "Forbidden", message)


def test_the_finalize_subresource_lets_a_namespace_go(api):
    made = api.create(NAMESPACES, namespace("n"))
    api.call("DELETE", f"{NAMESPACES}/n")
    _, found = api.get(f"{NAMESPACES}/n")
    found["spec"] = {}
    assert api.call("PUT", f"{NAMESPACES}/n/finalize", found)[0] == 200
    assert api.get(f"{NAMESPACES}/n")[0] == 404
    assert made["spec"] == {"finalizers": ["kubernetes"]}
