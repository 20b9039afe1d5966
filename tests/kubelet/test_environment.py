"""What a container finds in its environment."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.types import Object
from fairway.kubelet.environment import (
    ConfigError,
    Sources,
    container_environment,
    expand,
    expanded_argv,
    field_value,
    service_environment,
)
from fairway.kubelet.pod import parse_pod
from fairway.kubelet.volume import SourceKind
from tests.kubelet.objects import NODE, NODE_IP, POD_IP, container, pod_object, service

KUBERNETES = service("kubernetes", cluster_ip="10.200.1.1", ports=(("https", 443),))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("cost $", "cost $"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$()", "$()"),
    ],
)
def test_references_expand_as_kubernetes_does(text: str, result: str) -> None:
    """Rows of third_party/forked/golang/expansion/expand_test.go, in our variables."""
    assert expand(text, {"A": "1", "B": "2"}) == result


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-of-web"),
        ("metadata.labels['app']", "shop"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['example.com/a']", ""),
        ("spec.nodeName", NODE),
        ("status.podIP", POD_IP),
        ("status.podIPs", POD_IP),
        ("status.hostIP", NODE_IP),
        ("spec.serviceAccountName", ""),
    ],
)
def test_a_field_of_the_pod_is_told(path: str, value: str) -> None:
    pod = pod_object("web")
    pod["metadata"]["labels"] = {"app": "shop"}

    assert field_value(pod, path, pod_ips=[POD_IP], host_ips=[NODE_IP]) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.podIP", POD_IP),
        ("status.podIPs", f"{POD_IP},fd00:10:10:1::2"),
        ("status.hostIP", NODE_IP),
        ("status.hostIPs", f"{NODE_IP},fd00:172:18::5"),
    ],
)
def test_of_two_addresses_the_primary_one_is_told_alone_or_first(path: str, value: str) -> None:
    pod_ips, host_ips = [POD_IP, "fd00:10:10:1::2"], [NODE_IP, "fd00:172:18::5"]

    assert field_value(pod_object("web"), path, pod_ips=pod_ips, host_ips=host_ips) == value


def test_a_service_is_told_in_the_form_of_docker_links() -> None:
    found = service_environment([service("my-svc", ports=(("web", 80), ("dns", 53)))], "default", links=True)

    assert found == {
        "MY_SVC_SERVICE_HOST": "10.200.1.60",
        "MY_SVC_SERVICE_PORT": "80",
        "MY_SVC_SERVICE_PORT_WEB": "80",
        "MY_SVC_SERVICE_PORT_DNS": "53",
        "MY_SVC_PORT": "tcp://10.200.1.60:80",
        "MY_SVC_PORT_80_TCP": "tcp://10.200.1.60:80",
        "MY_SVC_PORT_80_TCP_PROTO": "tcp",
        "MY_SVC_PORT_80_TCP_PORT": "80",
        "MY_SVC_PORT_80_TCP_ADDR": "10.200.1.60",
        "MY_SVC_PORT_53_TCP": "tcp://10.200.1.60:53",
        "MY_SVC_PORT_53_TCP_PROTO": "tcp",
        "MY_SVC_PORT_53_TCP_PORT": "53",
        "MY_SVC_PORT_53_TCP_ADDR": "10.200.1.60",
    }


def test_the_api_server_is_told_to_every_pod_and_others_only_with_links() -> None:
    services = [KUBERNETES, service("web", namespace="shop"), service("db", namespace="other")]

    hosts = {name for name in service_environment(services, "shop", links=False) if name.endswith("_HOST")}
    linked = {name for name in service_environment(services, "shop", links=True) if name.endswith("_HOST")}

    assert hosts == {"KUBERNETES_SERVICE_HOST"}
    assert linked == {"KUBERNETES_SERVICE_HOST", "WEB_SERVICE_HOST"}


@pytest.mark.parametrize("cluster_ip", ["None", ""])
def test_a_service_without_an_address_is_not_told(cluster_ip: str) -> None:
    assert service_environment([service("web", cluster_ip=cluster_ip)], "default", links=True) == {}


def test_a_containers_own_variables_win_and_see_those_before_them() -> None:
    obj = pod_object(
        "web",
        container(
            env=[
                {"name": "API", "value": "https://$(KUBERNETES_SERVICE_HOST)"},
                {"name": "URL", "value": "$(API)/x"},
                {"name": "KUBERNETES_SERVICE_PORT", "value": "1"},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]
        ),
    )
    pod = parse_pod(obj)

    found = container_environment(
        pod.containers[0],
        pod,
        obj,
        services=[KUBERNETES],
        image_env={"LANG": "C"},
        pod_ips=[POD_IP],
        host_ips=[NODE_IP],
        sources={},
    )

    wanted = ("API", "URL", "KUBERNETES_SERVICE_PORT", "POD", "LANG", "HOSTNAME", "HOME")
    assert {name: found[name] for name in wanted} == {
        "API": "https://10.200.1.1",
        "URL": "https://10.200.1.1/x",
        "KUBERNETES_SERVICE_PORT": "1",
        "POD": "web",
        "LANG": "C",
        "HOSTNAME": "web",
        "HOME": "/root",
    }
    assert "TERM" not in found


def test_arguments_may_name_variables() -> None:
    pod = parse_pod(pod_object("web"))

    assert expanded_argv(("run", "$(A)", "$$HOME"), pod.containers[0], {"A": "1"}) == ("run", "1", "$HOME")


SOURCES: Sources = {
    (SourceKind.CONFIG_MAP, "settings"): {"A": b"1", "B": b"2"},
    (SourceKind.SECRET, "keys"): {"B": b"hidden"},
}


def test_a_container_is_told_its_own_resources() -> None:
    env = [
        {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}}
        for name, resource in (("CPUS", "limits.cpu"), ("MEMORY", "limits.memory"))
    ]
    found = environment_of(env=[*env, {"name": "FLAG", "value": "-p=$(CPUS)"}], resources={"limits": {"cpu": "1500m"}})
    assert (found["CPUS"], found["MEMORY"], found["FLAG"]) == ("2", str(4 << 20), "-p=2")


def environment_of(**fields: Any) -> dict[str, str]:
    obj = pod_object("web", container(**fields))
    pod = parse_pod(obj)
    return container_environment(
        pod.containers[0],
        pod,
        obj,
        services=[],
        image_env={},
        pod_ips=[POD_IP],
        host_ips=[NODE_IP],
        sources=SOURCES,
        allocatable={"memory": "4Mi"},
    )


def key_ref(ref: str, name: str, key: str, **fields: Any) -> Object:
    return {"name": "X", "valueFrom": {ref: {"name": name, "key": key, **fields}}}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"envFrom": [{"configMapRef": {"name": "settings"}}]}, {"A": "1", "B": "2"}),
        ({"envFrom": [{"prefix": "P_", "secretRef": {"name": "keys"}}]}, {"P_B": "hidden"}),
        ({"envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}]}, {"B": "hidden"}),
        ({"envFrom": [{"configMapRef": {"name": "settings"}}], "env": [{"name": "A", "value": "$(B)0"}]}, {"A": "20"}),
        ({"envFrom": [{"configMapRef": {"name": "none", "optional": True}}]}, {"A": None}),
        ({"env": [key_ref("configMapKeyRef", "settings", "A")]}, {"X": "1"}),
        ({"env": [key_ref("secretKeyRef", "keys", "B")]}, {"X": "hidden"}),
        ({"env": [key_ref("secretKeyRef", "keys", "Z", optional=True)]}, {"X": None}),
        ({"env": [key_ref("configMapKeyRef", "none", "Z", optional=True)]}, {"X": None}),
    ],
)
def test_variables_come_from_config_maps_and_secrets(fields: dict[str, Any], found: dict[str, str | None]) -> None:
    environment = environment_of(**fields)

    assert {name: environment.get(name) for name in found} == found


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found'),
        ({"env": [key_ref("secretKeyRef", "none", "k")]}, 'secret "none" not found'),
        ({"env": [key_ref("secretKeyRef", "keys", "Z")]}, "couldn't find key Z in Secret default/keys"),
        ({"env": [key_ref("configMapKeyRef", "settings", "Z")]}, "couldn't find key Z in ConfigMap default/settings"),
    ],
)
def test_what_a_variable_needs_and_is_not_there_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        environment_of(**fields)

    assert str(refused.value) == message
