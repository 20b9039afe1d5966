"""Requests to answers, over every verb: metadata, conflicts, dry runs, deletion, paging, watches, subresources."""

from __future__ import annotations

import json

import pytest

from fairway.api import resources
from fairway.apiserver.namespaces import empty_terminating
from fairway.apiserver.request import Response
from fairway.apiserver.revisions import Revisions
from tests.apiserver.harness import Harness, config_map, deployment, pod, service

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
NAMESPACES = "/api/v1/namespaces"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


BAD_PATCH = "error decoding patch: "
WRONG_PATCH = BAD_PATCH + "json: cannot unmarshal "
REJECTED = "the server rejected our request due to an error in our request"
WRONG_DATA = (
    ' "" is invalid: patch: Invalid value: "map[data:map[a:1]]": '
    "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
)
BAD_VERSION = (
    'invalid resource version: resourceVersion: Invalid value: "banana": strconv.ParseUint: parsing "banana": '
)
BAD_TOKEN = "invalid continue token: continue key is not valid: "
UNKNOWN_FIELD = '"spec.nothing" is not a known field selector: only "metadata.name", "metadata.namespace"'
BAD_LIST = 'ListOptions.meta.k8s.io "" is invalid: '
BAD_MATCH = BAD_LIST + "resourceVersionMatch: Forbidden: "
BAD_MANAGER = 'UpdateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: '
BAD_POLICY = 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
POLICIES = '"Foreground", "Background", "Orphan", "nil"'


@pytest.fixture
def api() -> Harness:
    return Harness()


def names(answer: tuple[int, dict]) -> list[str]:
    assert answer[0] == 200, answer
    return [item["metadata"]["name"] for item in answer[1]["items"]]


# What is there from the start


def test_a_new_cluster_has_its_namespaces_and_the_kubernetes_service_with_its_endpoints(api):
    assert names(api.get(NAMESPACES)) == ["default", "kube-node-lease", "kube-public", "kube-system"]
    _, found = api.get(f"{SERVICES}/kubernetes")
    assert found["spec"]["clusterIP"] == "10.200.1.1"
    assert found["spec"]["ports"] == [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}]
    assert found["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
    _, endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes")
    ports = [{"name": "https", "port": 6443, "protocol": "TCP"}]
    assert endpoints["subsets"] == [{"addresses": [{"ip": "172.18.0.3"}], "ports": ports}]
    _, piece = api.get(f"{SLICES}/kubernetes")
    assert piece["endpoints"] == [{"addresses": ["172.18.0.3"], "conditions": {"ready": True}}]
    assert piece["ports"] == ports
    assert piece["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}


def test_the_root_lists_what_there_is(api):
    _, root = api.get("/")
    assert {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"} <= set(root["paths"])


# Create


def test_a_created_object_gets_what_no_client_may_choose(api):
    body = config_map("a", x="1")
    body["metadata"] |= {"uid": "mine", "resourceVersion": "", "creationTimestamp": "1999-01-01T00:00:00Z"}
    code, made = api.call("POST", CONFIG_MAPS, body)
    assert code == 201
    assert made["metadata"] == {
        "name": "a",
        "namespace": "default",
        "uid": made["metadata"]["uid"],
        "resourceVersion": str(api.revisions.revision),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"x": "1"},
    }
    assert made["metadata"]["uid"].startswith("00000000-")
    assert api.get(f"{CONFIG_MAPS}/a") == (200, made)


def test_a_second_object_of_the_name_is_refused(api):
    api.create(CONFIG_MAPS, config_map("a"))
    assert api.call("POST", CONFIG_MAPS, config_map("a")) == (
        409,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": 'configmaps "a" already exists',
            "reason": "AlreadyExists",
            "details": {"name": "a", "kind": "configmaps"},
            "code": 409,
        },
    )


def test_a_name_is_taken_before_it_is_on_disk(api):
    api.is_slow_disk = True
    assert api.call("POST", CONFIG_MAPS, config_map("a"))[0] == 201
    assert api.call("POST", CONFIG_MAPS, config_map("a"))[0] == 409
    assert api.get(f"{CONFIG_MAPS}/a")[0] == 404


def test_generate_name_adds_a_suffix_and_cuts_a_long_base(api):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"}}
    first, second = api.create(CONFIG_MAPS, body), api.create(CONFIG_MAPS, body)
    assert first["metadata"]["generateName"] == "gen-"
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert len(first["metadata"]["name"]) == len("gen-") + 5
    body["metadata"]["generateName"] = "g" * 80
    assert len(api.create(CONFIG_MAPS, body)["metadata"]["name"]) == 63


def test_objects_need_a_namespace_that_exists(api):
    code, status = api.call("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert (code, status["message"]) == (404, 'namespaces "nowhere" not found')
    assert status["details"] == {"name": "nowhere", "kind": "namespaces"}
    body = config_map("a")
    body["metadata"]["namespace"] = "other"
    code, status = api.call("POST", CONFIG_MAPS, body)
    message = "the namespace of the provided object does not match the namespace sent on the request"
    assert (code, status["message"]) == (400, message)


def test_a_dry_run_shows_the_result_and_stores_nothing(api):
    before = api.revisions.accepted
    code, made = api.call("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
    assert code == 201
    assert "resourceVersion" not in made["metadata"]
    api.create(CONFIG_MAPS, config_map("b"))
    assert api.patch(f"{CONFIG_MAPS}/b?dryRun=All", {"data": {"x": "1"}})[1]["data"] == {"x": "1"}
    assert api.call("DELETE", f"{CONFIG_MAPS}/b?dryRun=All")[0] == 200
    code, status = api.call("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("b"))
    assert (code, status["reason"]) == (409, "AlreadyExists")
    assert api.revisions.accepted == before + 1
    assert "data" not in api.get(f"{CONFIG_MAPS}/b")[1]


def test_a_refused_service_gives_its_address_and_port_back(api):
    wrong = service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30500}], externalIPs=["127.0.0.1"])
    assert api.call("POST", SERVICES, wrong)[0] == 422
    assert api.call("POST", SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30500}]))[0] == 201


def test_a_deleted_service_gives_its_node_port_back(api):
    body = service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30500}])
    api.create(SERVICES, body)
    api.call("DELETE", f"{SERVICES}/a")
    assert api.call("POST", SERVICES, body | {"metadata": {"name": "b"}})[0] == 201


def test_allocations_are_rebuilt_from_what_is_stored(api):
    api.create(SERVICES, service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30500}]))
    api.registry.rebuild()
    code, status = api.call("POST", SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30500}]))
    assert (code, "provided port is already allocated" in status["message"]) == (422, True)


# Field validation


def test_unknown_and_double_fields_are_refused_warned_of_or_ignored(api):
    body = '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","nme":1},"data":{"a":"1","a":"2"},"foo":1}'
    code, status = api.call("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    problems = ['duplicate field "data.a"', 'unknown field "metadata.nme"', 'unknown field "foo"']
    assert (code, status["message"]) == (
        400,
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: ' + ", ".join(problems),
    )
    assert api.call("POST", f"{CONFIG_MAPS}?fieldValidation=Warn&dryRun=All", body)[0] == 201
    assert api.warnings == tuple(problems)
    assert api.call("POST", f"{CONFIG_MAPS}?dryRun=All", body)[0] == 201
    assert api.warnings == tuple(problems), "warning is the default"
    assert api.call("POST", f"{CONFIG_MAPS}?fieldValidation=Ignore", body)[0] == 201
    assert api.warnings == ()
    code, status = api.patch(f"{CONFIG_MAPS}/a?fieldValidation=Strict", {"bar": 1})
    assert code == 422
    assert status["message"].startswith(' "" is invalid: patch: Invalid value: ')
    assert status["message"].endswith('strict decoding error: unknown field "bar"')


@pytest.mark.parametrize(
    ("method", "query", "message"),
    [
        (
            "POST",
            "dryRun=Some",
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        ),
        (
            "PUT",
            "fieldManager=" + "x" * 129,
            BAD_MANAGER + f'"{"x" * 129}": may not be more than 128 bytes',
        ),
        (
            "PATCH",
            "force=true",
            'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
        ),
        (
            "DELETE",
            "propagationPolicy=Sideways",
            BAD_POLICY + f'"Sideways": supported values: {POLICIES}',
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(api, method, query, message):
    api.create(CONFIG_MAPS, config_map("a"))
    url = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/a"
    body = None if method == "DELETE" else config_map("a")
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    code, status = api.call(method, f"{url}?{query}", body, content_type=kind)
    assert (code, status["message"]) == (422, message)


# Update


def test_an_update_with_a_stale_version_is_a_conflict_and_without_one_the_last_wins(api):
    old = api.create(CONFIG_MAPS, config_map("a"))
    assert api.call("PUT", f"{CONFIG_MAPS}/a", old | {"data": {"x": "1"}})[0] == 200
    code, status = api.call("PUT", f"{CONFIG_MAPS}/a", old | {"data": {"x": "2"}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    code, new = api.call("PUT", f"{CONFIG_MAPS}/a", config_map("a") | {"data": {"x": "3"}})
    assert (code, new["data"]) == (200, {"x": "3"})
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert new["metadata"]["creationTimestamp"] == old["metadata"]["creationTimestamp"]


def test_kinds_that_ask_for_a_version_refuse_an_update_without_one(api, monkeypatch):
    monkeypatch.setattr(type(api.registry.strategy_for(resources.LEASES)), "allow_unconditional_update", False)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    api.create(LEASES, lease)
    code, status = api.call("PUT", f"{LEASES}/l", lease | {"spec": {"holderIdentity": "me"}})
    assert code == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in status["message"]


def test_an_update_that_changes_nothing_writes_nothing(api):
    made = api.create(CONFIG_MAPS, config_map("a", x="1"))
    before = api.revisions.accepted
    assert api.call("PUT", f"{CONFIG_MAPS}/a", made) == (200, made)
    assert api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": "1"}}}) == (200, made)
    assert api.patch(f"{CONFIG_MAPS}/a", {}, "strategic") == (200, made)
    assert api.patch(f"{CONFIG_MAPS}/a", [], "json") == (200, made)
    assert api.revisions.accepted == before


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"name": "b"}, 400, "the name of the object (b) does not match the name on the URL (a)"),
        ({"namespace": "other"}, 400, "does not match the namespace on the URL (default)"),
        ({"uid": "another"}, 409, "Precondition failed: UID in precondition: another, UID in object meta: "),
    ],
)
def test_an_update_of_another_object_is_refused(api, change, code, words):
    made = api.create(CONFIG_MAPS, config_map("a"))
    made["metadata"] |= change
    found, status = api.call("PUT", f"{CONFIG_MAPS}/a", made)
    assert (found, words in status["message"]) == (code, True), status["message"]


def test_a_patch_may_not_rename(api):
    api.create(CONFIG_MAPS, config_map("a"))
    code, status = api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"name": "b"}})
    assert (code, 'metadata.name: Invalid value: "b": field is immutable' in status["message"]) == (422, True)


def test_a_patch_with_a_stale_version_is_a_conflict(api):
    old = api.create(CONFIG_MAPS, config_map("a"))
    api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"x": "2"}}
    assert api.patch(f"{CONFIG_MAPS}/a", stale)[0] == 409
    assert api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})[0] == 200


def test_put_creates_only_the_kinds_that_allow_it(api):
    code, status = api.call("PUT", f"{CONFIG_MAPS}/a", config_map("a"))
    assert (code, status["message"]) == (404, 'configmaps "a" not found')
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    assert api.call("PUT", f"{LEASES}/l", lease)[0] == 201


@pytest.mark.parametrize(
    ("kind", "body", "code", "message"),
    [
        ("text/plain", {}, 415, "415: Unsupported Media Type"),
        ("application/apply-patch+yaml", {}, 415, "415: Unsupported Media Type"),
        ("", {}, 415, "415: Unsupported Media Type"),
        (
            "application/merge-patch+json",
            "nonsense",
            400,
            BAD_PATCH + "invalid character 'o' in literal null (expecting 'u')",
        ),
        ("application/merge-patch+json", [], 400, WRONG_PATCH + "array into Go value of type map[string]interface {}"),
        ("application/json-patch+json", {}, 400, WRONG_PATCH + "object into Go value of type []interface {}"),
        ("application/json-patch+json", [{"op": "test", "path": "/x", "value": 1}], 422, REJECTED),
        ("application/strategic-merge-patch+json", {"$patch": "x"}, 400, "unknown patch type: x"),
        ("application/strategic-merge-patch+json", {"data": {"a": 1}}, 422, WRONG_DATA),
    ],
)
def test_patches_that_cannot_be_applied_change_nothing(api, kind, body, code, message):
    api.create(CONFIG_MAPS, config_map("a"))
    before = api.revisions.accepted
    found, status = api.call("PATCH", f"{CONFIG_MAPS}/a", body, content_type=kind)
    assert (found, status["message"]) == (code, message)
    assert api.revisions.accepted == before


def test_a_patch_of_too_many_operations_is_too_large(api):
    api.create(CONFIG_MAPS, config_map("a"))
    operations = [{"op": "add", "path": "/data", "value": {}}] * 10_001
    assert api.patch(f"{CONFIG_MAPS}/a", operations, "json")[0] == 413


def test_the_generation_counts_changes_of_the_spec_only(api):
    api.create(DEPLOYMENTS, deployment("d"))
    assert api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"a": "b"}}})[1]["metadata"]["generation"] == 1
    assert api.patch(f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 1}})[1]["metadata"]["generation"] == 1
    assert api.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 9}})[1]["metadata"]["generation"] == 2


# Subresources


def test_status_and_spec_are_written_apart(api):
    api.create(DEPLOYMENTS, deployment("d"))
    _, found = api.patch(f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 5}, "spec": {"replicas": 9}})
    assert (found["status"], found["spec"]["replicas"]) == ({"replicas": 5}, 3)
    _, found = api.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 2}, "status": {"replicas": 99}})
    assert (found["status"], found["spec"]["replicas"]) == ({"replicas": 5}, 2)
    assert api.get(f"{DEPLOYMENTS}/d/status") == (200, found)
    found["status"] = {"replicas": 7}
    found["spec"]["replicas"] = 1
    _, found = api.call("PUT", f"{DEPLOYMENTS}/d/status", found)
    assert (found["status"], found["spec"]["replicas"]) == ({"replicas": 7}, 2)


def test_scale_reads_and_writes_the_replicas_and_nothing_else(api):
    made = api.create(DEPLOYMENTS, deployment("d"))
    _, scale = api.get(f"{DEPLOYMENTS}/d/scale")
    metadata = made["metadata"]
    assert scale == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": "d",
            "namespace": "default",
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": 3},
        "status": {"replicas": 0, "selector": "app=d"},
    }
    code, after = api.call("PUT", f"{DEPLOYMENTS}/d/scale", scale | {"spec": {"replicas": 5}})
    assert (code, after["spec"]) == (200, {"replicas": 5})
    assert api.call("PUT", f"{DEPLOYMENTS}/d/scale", scale | {"spec": {"replicas": 6}})[0] == 409
    assert api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 0}})[1]["spec"] == {}
    assert api.get(f"{DEPLOYMENTS}/d")[1]["spec"]["replicas"] == 0
    code, status = api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": "x"}})
    assert code == 400
    assert "cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32" in status["message"]


def test_a_binding_puts_a_pod_on_a_node_once(api):
    api.create(PODS, pod("p"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    code, status = api.call("POST", f"{PODS}/p/binding", binding)
    assert (code, status) == (
        201,
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201},
    )
    _, found = api.get(f"{PODS}/p")
    assert found["spec"]["nodeName"] == "n1"
    assert [one["type"] for one in found["status"]["conditions"]] == ["PodScheduled"]
    code, status = api.call("POST", f"{PODS}/p/binding", binding)
    assert (code, status["message"]) == (
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"',
    )
    api.create(PODS, pod("q"))
    code, status = api.call("POST", f"{PODS}/q/binding", {"target": {"kind": "Pod"}})
    assert code == 422
    assert "target.name: Required value" in status["message"]


# Delete


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


def namespace(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


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
    empty_terminating(api.registry, api.around())
    api.publish()
    assert api.get("/api/v1/namespaces/n/configmaps/a")[0] == 404
    assert api.get("/api/v1/namespaces/n/pods/p")[1]["metadata"]["deletionGracePeriodSeconds"] == 30
    settled = api.revisions.accepted
    empty_terminating(api.registry, api.around())
    assert api.revisions.accepted == settled, "a pod that is terminating is waited for"
    api.call("DELETE", "/api/v1/namespaces/n/pods/p", {"gracePeriodSeconds": 0})
    empty_terminating(api.registry, api.around())
    api.publish()
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


# Lists


def test_a_list_carries_the_newest_revision_and_its_items_no_kind(api):
    api.create(CONFIG_MAPS, config_map("b"))
    api.create(CONFIG_MAPS, config_map("a"))
    code, found = api.get(CONFIG_MAPS)
    assert (code, found["kind"], found["apiVersion"]) == (200, "ConfigMapList", "v1")
    assert found["metadata"] == {"resourceVersion": str(api.revisions.revision)}
    assert [sorted(item) for item in found["items"]] == [["metadata"], ["metadata"]]
    assert names((code, found)) == ["a", "b"]
    assert api.get("/api/v1/namespaces/none/configmaps")[1]["items"] == []


def test_pages_show_one_revision_whatever_is_written_between_them(api):
    for name in "abcde":
        api.create(CONFIG_MAPS, config_map(name))
    _, first = api.get(f"{CONFIG_MAPS}?limit=2")
    assert (names((200, first)), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    api.call("DELETE", f"{CONFIG_MAPS}/c")
    api.create(CONFIG_MAPS, config_map("bb"))
    api.patch(f"{CONFIG_MAPS}/d", {"data": {"x": "1"}})
    _, second = api.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert names((200, second)) == ["c", "d"]
    assert "data" not in second["items"][1]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, third = api.get(f"{CONFIG_MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names((200, third)) == ["e"]
    assert third["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


def test_a_page_of_a_revision_no_longer_kept_is_gone():
    api = Harness(revisions=Revisions(max_events=10))
    for name in "abcde":
        api.create(CONFIG_MAPS, config_map(name))
    _, first = api.get(f"{CONFIG_MAPS}?limit=2")
    for turn in range(20):
        api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": str(turn)}})
        api.revisions.compact()
    code, status = api.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    assert status["message"].startswith("The provided continue parameter is too old to display a consistent list")
    code, status = api.get(f"{CONFIG_MAPS}?resourceVersion=9&resourceVersionMatch=Exact")
    message = "The resourceVersion for the provided list is too old."
    assert (code, status["message"]) == (410, message)


def test_an_exact_list_shows_that_revision_and_one_not_older_the_newest(api):
    api.create(CONFIG_MAPS, config_map("a"))
    at = api.revisions.revision
    api.create(CONFIG_MAPS, config_map("b"))
    _, exact = api.get(f"{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")
    assert (names((200, exact)), exact["metadata"]) == (["a"], {"resourceVersion": str(at)})
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")) == ["a", "b"]
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion={at}")) == ["a", "b"]
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion=0")) == ["a", "b"]


WATCH_LIST = f"{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"


@pytest.mark.parametrize("url", [f"{CONFIG_MAPS}?", f"{SERVICES}/kubernetes?", WATCH_LIST])
def test_a_revision_that_lies_ahead_is_not_waited_for(api, url):
    code, status = api.get(f"{url}resourceVersion=99999")
    assert (code, status["reason"]) == (504, "Timeout")
    assert status["message"] == f"Timeout: Too large resource version: 99999, current: {api.revisions.revision}"
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("resourceVersion=banana", 400, BAD_VERSION + "invalid syntax"),
        ("continue=nonsense", 400, BAD_TOKEN + "invalid character '\\x9e' looking for beginning of value"),
        (
            "continue=bm90IGpzb24&resourceVersion=5",
            400,
            "specifying resource version is not allowed when using continue",
        ),
        ("fieldSelector=spec.nothing%3Dx", 400, UNKNOWN_FIELD),
        (
            "resourceVersionMatch=Exact",
            422,
            BAD_MATCH + "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "sendInitialEvents=true",
            422,
            BAD_LIST + "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
        (
            "watch=true&sendInitialEvents=true",
            422,
            BAD_MATCH + "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            422,
            BAD_MATCH + "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        ("includeObject=Everything", 400, 'unrecognized includeObject value: "Everything"'),
    ],
)
def test_list_options_that_cannot_be_read_are_refused(api, query, code, message):
    found, status = api.get(f"{CONFIG_MAPS}?{query}")
    assert (found, status["message"]) == (code, message)


# Forms


def test_a_table_and_partial_metadata_are_given_where_they_are_preferred(api):
    api.create(CONFIG_MAPS, config_map("a"))
    _, shown = api.get(CONFIG_MAPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    assert (shown["kind"], shown["apiVersion"], shown["rows"][0]["cells"][0]) == ("Table", "meta.k8s.io/v1", "a")
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    _, shown = api.get(CONFIG_MAPS, accept=partial)
    assert shown["kind"] == "PartialObjectMetadataList"
    assert [sorted(item) for item in shown["items"]] == [["apiVersion", "kind", "metadata"]]
    _, shown = api.get(f"{CONFIG_MAPS}/a", accept=partial.replace("MetadataList", "Metadata"))
    assert shown["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/vnd.kubernetes.protobuf,application/json", "ConfigMapList"),
        ("*/*", "ConfigMapList"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "ConfigMapList"),
        ("application/json;q=0.5,application/json;as=Table;v=v1;g=meta.k8s.io", "Table"),
    ],
)
def test_the_first_form_that_can_be_given_is_taken(api, accept, kind):
    assert api.get(CONFIG_MAPS, accept=accept)[1]["kind"] == kind


def test_a_form_that_cannot_be_given_is_refused(api):
    code, status = api.get(CONFIG_MAPS, accept="application/vnd.kubernetes.protobuf")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    message = "only the following media types are accepted: application/json, application/yaml"
    assert status["message"] == message


def test_people_get_indented_json_and_yaml_where_they_ask(api):
    pretty = api.respond("GET", f"{SERVICES}/kubernetes", user_agent="curl/8")
    assert isinstance(pretty, Response)
    assert pretty.body.startswith(b'{\n  "kind": "Service",\n  "apiVersion": "v1",\n  "metadata": {\n    "name": "kub')
    shown = api.respond("GET", f"{SERVICES}/kubernetes", accept="application/yaml")
    assert isinstance(shown, Response)
    assert shown.body.startswith(b"kind: Service\napiVersion: v1\nmetadata:\n  name: kubernetes\n")
    assert shown.content_type == "application/yaml"


# Watches


def test_a_watch_without_a_version_begins_with_what_there_is(api):
    api.create(CONFIG_MAPS, config_map("a"))
    for query in ("watch=true", "watch=1&resourceVersion=0"):
        watch = api.watch(f"{CONFIG_MAPS}?{query}")
        assert watch.seen() == [("ADDED", "a")]
        api.create(CONFIG_MAPS, config_map("b"))
        assert watch.seen() == [("ADDED", "b")]
        api.call("DELETE", f"{CONFIG_MAPS}/b")
        assert watch.seen() == [("DELETED", "b")]


def test_a_watch_sees_only_what_is_durable(api):
    watch = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={api.revisions.revision}")
    api.is_slow_disk = True
    api.call("POST", CONFIG_MAPS, config_map("a"))
    assert watch.seen() == []
    api.publish()
    assert watch.seen() == [("ADDED", "a")]


def test_a_watch_list_ends_its_initial_events_with_a_bookmark(api):
    api.create(CONFIG_MAPS, config_map("a", x="1"))
    api.create(CONFIG_MAPS, config_map("b"))
    ask = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    watch = api.watch(f"{CONFIG_MAPS}?{ask}&allowWatchBookmarks=true&labelSelector=x")
    added, bookmark = watch.events()
    assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"] == {
        "resourceVersion": str(api.revisions.revision),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    assert api.watch(f"{CONFIG_MAPS}?{ask}").seen() == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_from_too_old_a_version_says_so_in_the_stream():
    api = Harness(revisions=Revisions(max_events=10))
    for turn in range(20):
        api.create(CONFIG_MAPS, config_map(f"n{turn}"))
        api.revisions.compact()
    (event,) = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion=1").events()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_a_watch_from_another_servers_history_is_told_to_list_anew(api):
    (event,) = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion=99999").events()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_watch_by_name_and_namespace_sees_nothing_else(api):
    api.create(NAMESPACES, namespace("n"))
    one = api.watch(f"{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Da")
    everywhere = api.watch("/api/v1/configmaps?watch=true")
    api.create(CONFIG_MAPS, config_map("a"))
    api.create(CONFIG_MAPS, config_map("b"))
    api.create("/api/v1/namespaces/n/configmaps", config_map("a"))
    assert one.seen() == [("ADDED", "a")]
    assert everywhere.seen() == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "a")]


def test_a_pod_bound_to_a_node_enters_that_nodes_watch(api):
    watch = api.watch("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1")
    api.create(PODS, pod("p"))
    assert watch.seen() == []
    api.call("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n1"}})
    assert watch.seen() == [("ADDED", "p")]


def test_a_table_watch_defines_its_columns_once(api):
    api.create(CONFIG_MAPS, config_map("a"))
    watch = api.watch(f"{CONFIG_MAPS}?watch=true", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    api.create(CONFIG_MAPS, config_map("b"))
    first, second = watch.events()
    assert (first["type"], first["object"]["kind"]) == ("ADDED", "Table")
    assert "columnDefinitions" in first["object"]
    assert "columnDefinitions" not in second["object"]
    assert second["object"]["rows"][0]["cells"][0] == "b"


def test_a_watch_lasts_as_long_as_its_client_says(api):
    assert api.watch(f"{CONFIG_MAPS}?watch=true&timeoutSeconds=7").stream.timeout_s == 7
    assert api.watch(f"{CONFIG_MAPS}?watch=true").stream.timeout_s == 1800


# Bodies


def test_yaml_is_read_as_kubernetes_reads_it(api):
    body = "metadata:\n  name: y\ndata:\n  date: 2020-01-01\n  text: '1'\n"
    code, made = api.call("POST", CONFIG_MAPS, body, content_type="application/yaml")
    assert (code, made["data"]) == (201, {"date": "2020-01-01", "text": "1"})


def test_a_yaml_document_that_grows_without_bound_is_refused(api):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    code, status = api.call("POST", CONFIG_MAPS, "\n".join(lines), content_type="application/yaml")
    assert (code, "document contains excessive aliasing" in status["message"]) == (400, True)
    code, status = api.call("POST", CONFIG_MAPS, "a: &a [*a]", content_type="application/yaml")
    assert (code, "anchor contains itself" in status["message"]) == (400, True)


def test_json_nested_without_end_is_refused(api):
    code, status = api.call("POST", CONFIG_MAPS, "[" * 100_000)
    assert (code, "exceeded max depth" in status["message"]) == (400, True)


def test_a_body_of_another_type_is_refused(api):
    code, status = api.call("POST", CONFIG_MAPS, "x", content_type="text/plain")
    assert (code, status["reason"]) == (415, "UnsupportedMediaType")
    assert status["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def test_a_body_may_leave_out_its_kind(api):
    assert api.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})[1]["kind"] == "ConfigMap"


def test_deprecated_endpoints_warn_with_every_answer(api):
    api.get("/api/v1/namespaces/default/endpoints/kubernetes")
    assert api.warnings == ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)


def test_documents_answer_304_to_who_has_them(api):
    first = api.respond("GET", "/version")
    assert isinstance(first, Response)
    assert json.loads(first.body)["gitVersion"] == "v1.33.0+fairway"
