"""Requests that write: metadata, conflicts, dry runs, patches, subresources, and the bodies they come in."""

from __future__ import annotations

import json

import pytest

from fairway.api import resources
from fairway.apiserver.request import Response
from tests.apiserver.harness import Harness, config_map, deployment, pod, service
from tests.apiserver.urls import CONFIG_MAPS, DEPLOYMENTS, LEASES, NAMESPACES, PODS, SERVICES, SLICES

BAD_PATCH = "error decoding patch: "
WRONG_PATCH = BAD_PATCH + "json: cannot unmarshal "
REJECTED = "the server rejected our request due to an error in our request"
WRONG_DATA = (
    ' "" is invalid: patch: Invalid value: "map[data:map[a:1]]": '
    "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
)
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


def test_metrics_tell_how_many_objects_there_are_of_each_kind(api):
    api.create(CONFIG_MAPS, config_map("one"))
    answer = api.respond("GET", "/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.body.decode().splitlines()
    assert 'apiserver_storage_objects{resource="configmaps"} 1' in lines
    assert 'apiserver_storage_objects{resource="deployments.apps"} 0' in lines
    assert "kubernetes_build_info{" in answer.body.decode()
    assert api.respond("POST", "/metrics").code == 405


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


def eviction(name="p", **fields):
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}, **fields}


def test_an_eviction_marks_a_pod_as_deleted_and_says_why(api):
    api.create(PODS, pod("p", nodeName="n1"))
    answer = api.call("POST", f"{PODS}/p/eviction", eviction(deleteOptions={"gracePeriodSeconds": 7}))
    assert answer == (201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
    _, found = api.get(f"{PODS}/p")
    assert found["metadata"]["deletionGracePeriodSeconds"] == 7
    assert found["status"]["conditions"] == [
        {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
    ]
    api.pass_time(5)
    assert api.call("POST", f"{PODS}/p/eviction", eviction())[0] == 201
    assert api.get(f"{PODS}/p")[1] == found


def test_an_eviction_of_a_pod_that_runs_nowhere_removes_it_at_once(api):
    api.create(PODS, pod("p"))
    assert api.call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})[0] == 201
    assert api.call("POST", f"{PODS}/p/eviction", eviction())[1]["message"] == 'pods "p" not found'


@pytest.mark.parametrize(
    ("query", "body"), [("?dryRun=All", eviction()), ("", eviction(deleteOptions={"dryRun": ["All"]}))]
)
def test_an_eviction_on_trial_changes_nothing(api, query, body):
    before = api.create(PODS, pod("p", nodeName="n1"))
    assert api.call("POST", f"{PODS}/p/eviction{query}", body)[0] == 201
    assert api.get(f"{PODS}/p")[1] == before


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (eviction("q"), 400, "name in URL does not match name in Eviction object"),
        (eviction() | {"kind": "Pod"}, 400, 'no kind "Pod" is registered for version "policy/v1"'),
        (eviction(deleteOptions={"gracePeriodSeconds": "x"}), 400, "cannot unmarshal string"),
        (eviction(deleteOptions=[]), 400, "cannot unmarshal array"),
        (eviction(deleteOptions={"preconditions": {"uid": "other"}}), 409, "the UID in the precondition (other)"),
        (eviction(deleteOptions={"preconditions": {"resourceVersion": "1"}}), 409, "the ResourceVersion in the precon"),
        (eviction(deleteOptions={"propagationPolicy": "x"}), 422, BAD_POLICY),
        (eviction(metadata=7), 400, "cannot unmarshal number"),
    ],
)
def test_an_eviction_that_is_none_says_what_is_wrong_and_changes_nothing(api, body, code, words):
    before = api.create(PODS, pod("p", nodeName="n1"))
    answer = api.call("POST", f"{PODS}/p/eviction", body)
    assert (answer[0], words in answer[1]["message"]) == (code, True), answer
    assert api.get(f"{PODS}/p")[1] == before


def test_an_eviction_of_the_version_that_was_meant_goes(api):
    version = api.create(PODS, pod("p", nodeName="n1"))["metadata"]["resourceVersion"]
    body = eviction(deleteOptions={"preconditions": {"resourceVersion": version}})
    assert api.call("POST", f"{PODS}/p/eviction", body)[0] == 201
    assert api.get(f"{PODS}/p")[1]["metadata"]["deletionGracePeriodSeconds"] == 30


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
