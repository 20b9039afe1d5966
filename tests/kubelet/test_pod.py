"""What a pod asks for, and what of it the lab lacks."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.types import Key, Object
from fairway.kubelet.pod import (
    ContainerSpec,
    DnsConfig,
    EnvVar,
    ExecAction,
    Hook,
    HostAlias,
    HttpGet,
    PodSpec,
    ProbeSpec,
    ProbeType,
    RestartPolicy,
    Sleep,
    TcpSocket,
    parse_pod,
)
from tests.kubelet.objects import NODE, container, pod_object, pod_spec


def test_a_bare_pod_has_the_defaults() -> None:
    assert parse_pod(pod_object("web", container(), uid="u")) == PodSpec(
        key=Key("default", "web"),
        uid="u",
        containers=(ContainerSpec(name="web", image="busybox"),),
        restart_policy=RestartPolicy.ALWAYS,
        grace_s=30,
        hostname="web",
        node_name=NODE,
    )


def test_everything_a_pod_may_ask_for_is_read() -> None:
    web = container(
        command=["serve"],
        args=["--port", "80"],
        env=[
            {"name": "A", "value": "1"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        workingDir="/srv",
        ports=[{"name": "http", "containerPort": 80}, {"containerPort": 81}],
        readinessProbe={"httpGet": {"port": "http"}},
        livenessProbe={"tcpSocket": {"port": 81, "host": "10.0.0.1"}, "periodSeconds": 3},
        startupProbe={"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 5},
        tty=True,
        stdin=True,
    )
    spec = pod_spec(
        web,
        initContainers=[container("init")],
        restartPolicy="OnFailure",
        terminationGracePeriodSeconds=0,
        hostname="front",
        subdomain="shop",
        hostAliases=[{"ip": "10.1.1.1", "hostnames": ["db"]}],
        dnsPolicy="None",
        dnsConfig={
            "nameservers": ["10.0.0.10"],
            "searches": ["x"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
        readinessGates=[{"conditionType": "example.com/lb"}],
        enableServiceLinks=False,
    )

    assert spec == PodSpec(
        key=Key("default", "web"),
        uid="uid-of-web",
        init_containers=(ContainerSpec(name="init", image="busybox"),),
        containers=(
            ContainerSpec(
                name="web",
                image="busybox",
                command=("serve",),
                args=("--port", "80"),
                env=(EnvVar(name="A", value="1"), EnvVar(name="IP", field_path="status.podIP")),
                working_dir="/srv",
                ports={"http": 80},
                probes={
                    ProbeType.STARTUP: ProbeSpec(handler=ExecAction(command=("true",)), grace_s=5),
                    ProbeType.LIVENESS: ProbeSpec(handler=TcpSocket(port=81, host="10.0.0.1"), period_s=3),
                    ProbeType.READINESS: ProbeSpec(handler=HttpGet(port="http")),
                },
                stdin=True,
                tty=True,
            ),
        ),
        restart_policy=RestartPolicy.ON_FAILURE,
        grace_s=0,
        hostname="front",
        subdomain="shop",
        host_aliases=(HostAlias(address="10.1.1.1", names=("db",)),),
        dns=DnsConfig(policy="None", nameservers=("10.0.0.10",), searches=("x",), options=("ndots:2", "edns0")),
        node_name=NODE,
        readiness_gates=("example.com/lb",),
        service_links=False,
    )


def test_a_pod_being_deleted_tells_its_grace() -> None:
    assert parse_pod(pod_object("web", deleted=7)).deletion_grace_s == 7


def test_a_long_name_is_cut_to_a_hostname() -> None:
    name = "a" * 62 + "-b"

    assert parse_pod(pod_object(name)).hostname == "a" * 62


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "spec.volumes[0] (hostPath)"),
        (
            {"volumes": [{"name": "v"}, {"name": "w", "persistentVolumeClaim": {"claimName": "c"}}]},
            "spec.volumes[1] (persistentVolumeClaim)",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {}}, {"clusterTrustBundle": {}}]}}]},
            "spec.volumes[0].projected.sources[1] (clusterTrustBundle)",
        ),
    ],
)
def test_what_the_lab_lacks_is_named_by_its_field(fields: dict[str, Any], named: str) -> None:
    assert pod_spec(**fields).unsupported == (named,)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "a"}}}]},
            "spec.containers[0].env[0].valueFrom.fileKeyRef",
        ),
    ],
)
def test_what_the_lab_lacks_of_a_container_is_named_too(fields: dict[str, Any], named: str) -> None:
    assert pod_spec(container(**fields)).unsupported == (named,)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hostPID": True}, ("spec.hostPID",)),
        ({"hostPID": False, "hostIPC": True}, ("spec.hostIPC",)),
        ({"hostUsers": False}, ("spec.hostUsers",)),
        ({"hostUsers": True}, ()),
        ({"shareProcessNamespace": True}, ("spec.shareProcessNamespace",)),
        ({"activeDeadlineSeconds": 5}, ("spec.activeDeadlineSeconds",)),
        ({"runtimeClassName": "gvisor"}, ("spec.runtimeClassName",)),
        ({"ephemeralContainers": [{"name": "debug"}]}, ("spec.ephemeralContainers",)),
        ({"securityContext": {}}, ()),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}, ()),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}, ("spec.volumes[0].emptyDir.sizeLimit",)),
        (
            {"securityContext": {"fsGroup": 0, "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}},
            ("spec.securityContext.fsGroup", "spec.securityContext.sysctls"),
        ),
    ],
)
def test_what_has_no_effect_is_named_but_no_obstacle(fields: dict[str, Any], named: tuple[str, ...]) -> None:
    spec = pod_spec(**fields)

    assert (spec.unsupported, spec.unenforced) == ((), named)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}, ("resources.limits",)),
        ({"lifecycle": {"stopSignal": "SIGUSR1"}}, ("lifecycle.stopSignal",)),
        ({"terminationMessagePolicy": "FallbackToLogsOnError"}, ("terminationMessagePolicy",)),
        ({"terminationMessagePolicy": "File", "terminationMessagePath": "/dev/termination-log"}, ()),
        ({"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": 3}}, ("livenessProbe (grpc)",)),
        (
            {"securityContext": {"runAsUser": 1, "runAsNonRoot": True}},
            ("securityContext.runAsUser", "securityContext.runAsNonRoot"),
        ),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, ()),
        (
            {"securityContext": {"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}}},
            ("securityContext.capabilities.drop",),
        ),
        ({"securityContext": {"allowPrivilegeEscalation": False}}, ("securityContext.allowPrivilegeEscalation",)),
        (
            {"securityContext": {"privileged": True, "runAsUser": 0, "readOnlyRootFilesystem": True}},
            (),
        ),
        ({"securityContext": {"privileged": False, "seccompProfile": None}}, ()),
    ],
)
def test_what_has_no_effect_in_a_container_is_named_too(fields: dict[str, Any], named: tuple[str, ...]) -> None:
    """Every pod is root in the lab, as a privileged one would be, and cannot write the machine's files."""
    spec = pod_spec(container(**fields))

    assert (spec.unsupported, spec.unenforced) == ((), tuple(f"spec.containers[0].{name}" for name in named))
    assert spec.containers[0].probes == {}


@pytest.mark.parametrize(
    ("given", "hook"),
    [
        ({"exec": {"command": ["rm", "/x"]}}, ExecAction(command=("rm", "/x"))),
        ({"httpGet": {"port": "http", "path": "/bye", "scheme": "HTTP"}}, HttpGet(port="http", path="/bye")),
        ({"sleep": {"seconds": 3}}, Sleep(seconds=3)),
    ],
)
def test_hooks_are_read(given: Object, hook: Hook) -> None:
    spec = pod_spec(container(lifecycle={"postStart": given, "preStop": given})).containers[0]

    assert (spec.post_start, spec.pre_stop) == (hook, hook)


def test_a_pod_on_the_nodes_network_has_the_nodes_name_and_ports() -> None:
    spec = pod_spec(container(ports=[{"containerPort": 80, "hostPort": 80}]), hostNetwork=True, hostname="own")

    assert (spec.host_network, spec.hostname, spec.node_name) == (True, NODE, NODE)
    assert spec.unsupported == ()
