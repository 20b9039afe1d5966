"""Pods beside what the recorded exchanges show."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fairway.api.resources import PODS
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.kinds.pod import qos_class
from fairway.apiserver.kinds.podspec_defaults import pull_policy
from tests.apiserver.kinds.support import change, new, wrong, wrong_change

C = {"name": "c", "image": "i"}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers) or [C], **spec}}


class TestDefaults:
    @pytest.mark.parametrize(
        ("image", "policy"),
        [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:aa", "IfNotPresent"),
            ("nginx:latest@sha256:aa", "IfNotPresent"),
        ],
    )
    def test_an_image_without_a_fixed_version_is_always_pulled(self, image: str, policy: str) -> None:
        assert pull_policy(image) == policy

    def test_probes_and_hooks(self) -> None:
        container = {
            **C,
            "readinessProbe": {"httpGet": {"port": 80}},
            "livenessProbe": {"grpc": {"port": 1}, "periodSeconds": 5},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        }
        made = new(PODS, pod(container))["spec"]["containers"][0]
        often = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
        get = {"path": "/", "port": 80, "scheme": "HTTP"}
        assert made["readinessProbe"] == {"httpGet": get, **often}
        assert made["livenessProbe"] == {"grpc": {"port": 1, "service": ""}, **often, "periodSeconds": 5}
        assert made["lifecycle"] == {"preStop": {"httpGet": get}}

    def test_volumes(self) -> None:
        volumes = [
            {"name": "a"},
            {"name": "b", "secret": {"secretName": "s"}},
            {"name": "c", "hostPath": {"path": "/x"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "e", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]
        assert new(PODS, pod(volumes=volumes))["spec"]["volumes"] == [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
            {"name": "c", "hostPath": {"path": "/x", "type": ""}},
            {
                "name": "d",
                "projected": {
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                },
            },
            {
                "name": "e",
                "downwardAPI": {
                    "items": [{"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}],
                    "defaultMode": 420,
                },
            },
        ]

    def test_limits_are_requests_too(self) -> None:
        container = {**C, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}
        made = new(PODS, pod(container))["spec"]["containers"][0]
        assert made["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}

    def test_a_pod_of_the_host_network_listens_on_the_host(self) -> None:
        container = {**C, "ports": [{"containerPort": 80}]}
        made = new(PODS, pod(container, hostNetwork=True))["spec"]["containers"][0]
        assert made["ports"] == [{"hostPort": 80, "containerPort": 80, "protocol": "TCP"}]

    def test_a_pod_with_scheduling_gates_says_that_it_waits_for_them(self) -> None:
        [condition] = new(PODS, pod(schedulingGates=[{"name": "a"}]))["status"]["conditions"]
        assert condition == {
            "type": "PodScheduled",
            "lastProbeTime": None,
            "lastTransitionTime": None,
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }

    def test_own_tolerations_of_a_taint_stand(self) -> None:
        own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
        made = new(PODS, pod(tolerations=[own]))["spec"]["tolerations"]
        assert made == [
            own,
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            },
        ]
        everything = {"operator": "Exists"}
        assert new(PODS, pod(tolerations=[everything]))["spec"]["tolerations"] == [everything]

    def test_a_service_account_has_two_names(self) -> None:
        made = new(PODS, pod(serviceAccountName="a"))["spec"]
        assert made["serviceAccount"] == made["serviceAccountName"] == "a"


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}, "Burstable"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_from_requests_and_limits(resources: Any, wanted: str) -> None:
    assert qos_class({"containers": [{**C, "resources": resources}]}) == wanted


class TestValidation:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (pod(), []),
            (pod({"image": "i"}), ["spec.containers[0].name: Required value"]),
            (
                pod({**C, "image": " i"}),
                ['spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace'],
            ),
            (
                pod({**C, "imagePullPolicy": "Never!"}),
                [
                    (
                        'spec.containers[0].imagePullPolicy: Unsupported value: "Never!": supported values: '
                        '"Always", "IfNotPresent", "Never"'
                    )
                ],
            ),
            (
                pod({**C, "ports": [{"name": "a"}, {"name": "a", "containerPort": 70000, "protocol": "X"}]}),
                [
                    "spec.containers[0].ports[0].containerPort: Required value",
                    'spec.containers[0].ports[1].name: Duplicate value: "a"',
                    (
                        "spec.containers[0].ports[1].containerPort: Invalid value: 70000: "
                        "must be between 1 and 65535, inclusive"
                    ),
                    (
                        'spec.containers[0].ports[1].protocol: Unsupported value: "X": '
                        'supported values: "SCTP", "TCP", "UDP"'
                    ),
                ],
            ),
            (
                pod({**C, "env": [{"value": "x"}, {"name": "A=", "valueFrom": {}}]}),
                [
                    "spec.containers[0].env[0].name: Required value",
                    (
                        'spec.containers[0].env[1].name: Invalid value: "A=": a valid environment variable name must '
                        "consist only of printable ASCII characters other than '='"
                    ),
                    (
                        'spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, '
                        "`resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
                    ),
                ],
            ),
            (
                pod({**C, "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"mountPath": "/a"}]}),
                [
                    'spec.containers[0].volumeMounts[0].name: Not found: "v"',
                    "spec.containers[0].volumeMounts[1].name: Required value",
                    'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
                ],
            ),
            (
                pod({**C, "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
                [
                    (
                        'spec.containers[0].resources.requests: Invalid value: "2": '
                        "must be less than or equal to cpu limit of 1"
                    )
                ],
            ),
            (
                pod({**C, "livenessProbe": {"successThreshold": 2}}),
                [
                    "spec.containers[0].livenessProbe: Required value: must specify a handler type",
                    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                pod({**C, "readinessProbe": {"exec": {}, "tcpSocket": {"port": 0}}}),
                [
                    "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                    "spec.containers[0].readinessProbe.exec.command: Required value",
                ],
            ),
            (
                pod(C, initContainers=[{**C, "image": ""}]),
                [
                    "spec.initContainers[0].image: Required value",
                    'spec.initContainers[0].name: Duplicate value: "c"',
                ],
            ),
            (
                pod(
                    {**C, "ports": [{"containerPort": 80, "hostPort": 80}]},
                    {"name": "d", "image": "i", "ports": [{"containerPort": 81, "hostPort": 80}]},
                ),
                ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
            ),
            (
                pod(
                    volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}, {"name": "a"}, {"emptyDir": {}}]
                ),
                [
                    "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
                    'spec.volumes[1].name: Duplicate value: "a"',
                    "spec.volumes[2].name: Required value",
                ],
            ),
            (
                pod(dnsPolicy="None"),
                ["spec.dnsConfig: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"],
            ),
            (
                pod(terminationGracePeriodSeconds=-1, activeDeadlineSeconds=0),
                [
                    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
                    "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}, {"operator": "Is"}]),
                [
                    (
                        'spec.tolerations[0].operator: Invalid value: {"key":"a","operator":"Exists","value":"b"}: '
                        "value must be empty when `operator` is 'Exists'"
                    ),
                    (
                        'spec.tolerations[1].operator: Invalid value: "Is": operator must be Exists when `key` is '
                        'empty, which means "match all values and all keys"'
                    ),
                    'spec.tolerations[1].operator: Unsupported value: "Is": supported values: "Equal", "Exists"',
                ],
            ),
            (
                pod(topologySpreadConstraints=[{"maxSkew": 0, "whenUnsatisfiable": "Maybe"}]),
                [
                    "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                    "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                    (
                        'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": '
                        'supported values: "DoNotSchedule", "ScheduleAnyway"'
                    ),
                ],
            ),
            (
                pod(hostAliases=[{"ip": "x", "hostnames": ["ok"]}]),
                [
                    (
                        'spec.hostAliases[0].ip: Invalid value: "x": '
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    )
                ],
            ),
        ],
    )
    def test_each_field_has_its_rules(self, body: dict[str, Any], found: list[str]) -> None:
        assert wrong(PODS, body) == found


class TestChanges:
    def test_images_deadlines_and_new_tolerations_may_change(self) -> None:
        old = new(PODS, pod(C, initContainers=[{"name": "i", "image": "a"}]))
        spec = copy.deepcopy(old["spec"])
        spec["containers"][0]["image"] = "other"
        spec["initContainers"][0]["image"] = "other"
        spec["activeDeadlineSeconds"] = 5
        spec["tolerations"].append({"key": "a", "operator": "Exists"})
        assert wrong_change(PODS, old, {"spec": spec}) == []
        assert change(PODS, old, {"spec": spec})["metadata"]["generation"] == 2

    def test_containers_are_neither_added_nor_removed(self) -> None:
        old = new(PODS, pod())
        spec = {**old["spec"], "containers": [*old["spec"]["containers"], {"name": "d", "image": "i"}]}
        assert wrong_change(PODS, old, {"spec": spec}) == [
            "spec.containers: Forbidden: pod updates may not add or remove containers"
        ]

    def test_a_change_elsewhere_is_shown_line_by_line(self) -> None:
        old = new(PODS, pod())
        [text] = wrong_change(PODS, old, {"spec": {**old["spec"], "nodeSelector": {"a": "b"}}})
        assert text.endswith(
            '\n@@ -39,7 +39,9 @@\n  "TerminationGracePeriodSeconds": 30,\n  "ActiveDeadlineSeconds": null,\n'
            '  "DNSPolicy": "ClusterFirst",\n- "NodeSelector": null,\n+ "NodeSelector": {\n+  "a": "b"\n+ },\n'
            '  "ServiceAccountName": "",\n  "AutomountServiceAccountToken": null,\n  "NodeName": "",\n'
        )

    def test_tolerations_do_not_go(self) -> None:
        old = new(PODS, pod())
        [text] = wrong_change(PODS, old, {"spec": {**old["spec"], "tolerations": []}})
        assert text.startswith("spec: Forbidden: pod updates may not change fields other than")

    def test_scheduling_gates_may_go_and_none_may_come(self) -> None:
        old = new(PODS, pod(schedulingGates=[{"name": "a"}, {"name": "b"}]))
        assert wrong_change(PODS, old, {"spec": {**old["spec"], "schedulingGates": [{"name": "b"}]}}) == []
        assert wrong_change(PODS, old, {"spec": {**old["spec"], "schedulingGates": None}}) == []
        assert wrong_change(PODS, old, {"spec": {**old["spec"], "schedulingGates": [{"name": "c"}]}}) == [
            "spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'c'"
        ]

    def test_a_status_leaves_spec_and_quality_of_service(self) -> None:
        old = new(PODS, pod())
        body = {"spec": pod({"name": "z", "image": "z"})["spec"], "status": {"phase": "Running"}}
        made = change(PODS, old, body, "status")
        assert (made["spec"], made["status"]) == (old["spec"], {"phase": "Running", "qosClass": "BestEffort"})

    def test_a_binding_is_taken_as_it_is_and_does_not_count(self) -> None:
        old = new(PODS, pod())
        bound = copy.deepcopy(old)
        bound["spec"]["nodeName"] = "n1"
        strategy = strategy_for(PODS)
        assert strategy.prepare_update(bound, old, subresource="binding") == bound
        assert strategy.validate_update(bound, old, subresource="binding") == []


@pytest.mark.parametrize(
    ("spec", "status", "requested", "seconds"),
    [
        ({"nodeName": "n"}, {}, None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, {}, None, 5),
        ({"nodeName": "n"}, {}, 7, 7),
        ({"nodeName": "n"}, {}, 0, 0),
        ({"nodeName": "n"}, {}, -1, 1),
        ({}, {}, 30, 0),
        ({"nodeName": "n"}, {"phase": "Succeeded"}, 30, 0),
    ],
)
def test_a_running_pod_has_time_to_end(spec: Any, status: Any, requested: int | None, seconds: int) -> None:
    assert strategy_for(PODS).grace_period_s({"spec": spec, "status": status}, requested) == seconds


def test_pods_can_be_selected_by_node_phase_and_address() -> None:
    obj = {
        "metadata": {"name": "p", "namespace": "d"},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "podIP": "10.10.1.2"},
    }
    assert strategy_for(PODS).fields(obj) == {
        "metadata.name": "p",
        "metadata.namespace": "d",
        "spec.nodeName": "n",
        "spec.restartPolicy": "",
        "spec.schedulerName": "",
        "spec.serviceAccountName": "",
        "spec.hostNetwork": "false",
        "status.phase": "Running",
        "status.podIP": "10.10.1.2",
        "status.nominatedNodeName": "",
    }
