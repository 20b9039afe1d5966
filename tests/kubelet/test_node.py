"""The Node and its Lease."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from fairway.kubelet.config import KubeletConfig, Taint
from fairway.kubelet.node import (
    Machine,
    go_architecture,
    huge_page_kib,
    lease_object,
    node_object,
    node_status,
    os_image,
    total_memory_kib,
)

T0, AT_T0 = 1_700_000_000.0, "2023-11-14T22:13:20Z"

CONFIG = KubeletConfig(
    node_name="myk8s-worker",
    addresses=(IPv4Address("172.18.0.5"),),
    pod_cidrs=(IPv4Network("10.10.1.0/24"),),
    kubeconfig=Path("/k"),
    spawner=Path("/s"),
    log_dir=Path("/l"),
    tls_cert=Path("/c"),
    tls_key=Path("/y"),
    client_ca=Path("/a"),
)
MACHINE = Machine(
    cpus=2,
    memory_kib=2048,
    storage_kib=4096,
    machine_id="machine",
    boot_id="boot",
    kernel_version="6.18.0",
    os_image="Debian GNU/Linux 12 (bookworm)",
    architecture="amd64",
    runtime_version="0.1.0",
)


def test_a_node_of_both_families_tells_both_of_its_addresses_and_networks_the_primary_ones_first() -> None:
    config = replace(
        CONFIG,
        addresses=(*CONFIG.addresses, IPv6Address("fd00:172:18::5")),
        pod_cidrs=(*CONFIG.pod_cidrs, IPv6Network("fd00:10:10:1::/64")),
    )

    node = node_object(config, MACHINE, T0)

    assert node["spec"] == {"podCIDR": "10.10.1.0/24", "podCIDRs": ["10.10.1.0/24", "fd00:10:10:1::/64"]}
    assert node["status"]["addresses"] == [
        {"type": "InternalIP", "address": "172.18.0.5"},
        {"type": "InternalIP", "address": "fd00:172:18::5"},
        {"type": "Hostname", "address": "myk8s-worker"},
    ]


def test_a_node_registers_with_everything_kubectl_shows() -> None:
    config = replace(
        CONFIG,
        labels={"node-role.kubernetes.io/control-plane": ""},
        taints=(Taint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule"),),
    )

    node = node_object(config, MACHINE, T0)

    assert (node["apiVersion"], node["kind"], node["metadata"]) == (
        "v1",
        "Node",
        {
            "name": "myk8s-worker",
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": "myk8s-worker",
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/control-plane": "",
            },
            "annotations": {"fairway.dev/proxy-mode": "nftables"},
        },
    )
    assert node["spec"] == {
        "podCIDR": "10.10.1.0/24",
        "podCIDRs": ["10.10.1.0/24"],
        "taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
    }
    resources = {"cpu": "2", "ephemeral-storage": "4096Ki", "memory": "2048Ki", "pods": "110"}
    status = node["status"]
    assert (status["capacity"], status["allocatable"]) == (resources, resources)
    assert status["addresses"] == [
        {"type": "InternalIP", "address": "172.18.0.5"},
        {"type": "Hostname", "address": "myk8s-worker"},
    ]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert {c["lastTransitionTime"] for c in status["conditions"]} == {AT_T0}
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert status["nodeInfo"] == {
        "architecture": "amd64",
        "bootID": "boot",
        "containerRuntimeVersion": "fairway://0.1.0",
        "kernelVersion": "6.18.0",
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.33.0+fairway",
        "machineID": "machine",
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 12 (bookworm)",
        "systemUUID": "machine",
    }


def test_huge_pages_are_told_by_their_size_in_bytes() -> None:
    machine = replace(MACHINE, huge_pages={2048: 3, 1024 * 1024: 0, 64: 1})
    status = node_status(CONFIG, machine, ready_since=T0, now=T0)
    told = {name: size for name, size in status["capacity"].items() if name.startswith("hugepages-")}
    assert told == {"hugepages-64Ki": "64Ki", "hugepages-2Mi": "6Mi", "hugepages-1Gi": "0"}


@pytest.mark.parametrize(
    ("folder", "kib"), [("hugepages-2048kB", 2048), ("hugepages-1048576kB", 1048576), ("hugepages-kB", None)]
)
def test_the_size_of_huge_pages_is_in_the_name_of_their_folder(folder: str, kib: int | None) -> None:
    assert huge_page_kib(folder) == kib


def test_a_taint_may_have_a_value() -> None:
    config = replace(CONFIG, taints=(Taint(key="k", value="v", effect="NoExecute"),))

    assert node_object(config, MACHINE, T0)["spec"]["taints"] == [{"key": "k", "value": "v", "effect": "NoExecute"}]


def test_a_lease_belongs_to_its_node() -> None:
    lease = lease_object("myk8s-worker", "uid", T0)

    assert lease["metadata"] == {
        "name": "myk8s-worker",
        "namespace": "kube-node-lease",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "myk8s-worker", "uid": "uid"}],
    }
    assert lease["spec"] == {
        "holderIdentity": "myk8s-worker",
        "leaseDurationSeconds": 40,
        "renewTime": "2023-11-14T22:13:20.000000Z",
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12"\n', "Debian GNU/Linux 12"),
        ("PRETTY_NAME=Void\n", "Void"),
        ("", "Linux"),
    ],
)
def test_the_os_image_is_its_pretty_name(text: str, name: str) -> None:
    assert os_image(text) == name


@pytest.mark.parametrize(("text", "kib"), [("MemTotal:       24683032 kB\nMemFree: 1 kB\n", 24683032), ("", 0)])
def test_memory_is_read_from_meminfo(text: str, kib: int) -> None:
    assert total_memory_kib(text) == kib


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_architectures_have_gos_names(machine: str, name: str) -> None:
    assert go_architecture(machine) == name
