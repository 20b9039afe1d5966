"""The Node object and its Lease, as values.

Sources: kubelet `pkg/kubelet/nodestatus/setters.go`, `pkg/kubelet/kubelet_node_status.go`; KEP-589 for the Lease.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.api.types import Object
from fairway.kubelet.config import KubeletConfig
from fairway.kubelet.times import micro_time, timestamp
from fairway.plan.options import MODE_ANNOTATION

KUBELET_VERSION = "v1.33.0+fairway"
MAX_PODS = 110
"""KubeletConfiguration maxPods."""
LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_S = 40
LEASE_RENEW_S = 1.5
"""So that controllers can tell within five seconds that a node is cut off; a real kubelet takes a quarter of the
duration (`pkg/kubelet/kubelet.go`, nodeLeaseRenewIntervalFraction)."""
STATUS_CHECK_S = 10.0
"""KubeletConfiguration nodeStatusUpdateFrequency: how often the Node is read, to see that it says what we say."""
LATE_S = 2 * LEASE_RENEW_S
"""A renewal that comes so long after the last may have come too late: others may take the node for lost."""
LATE_CHECKS = 3
"""After a renewal that came late, the Node is read with so many renewals on end: those who took it for lost may be
about to say so yet."""
STATUS_REFRESH_S = 300.0
"""KubeletConfiguration nodeStatusReportFrequency: the Lease is the heartbeat, the status only what changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts about the machine.

    memory_kib, storage_kib: in all. huge_pages: how many by their size in KiB, for each size the kernel has.
    runtime_version: of what runs the containers, us.
    """

    cpus: int
    memory_kib: int
    storage_kib: int
    machine_id: str
    boot_id: str
    kernel_version: str
    os_image: str
    architecture: str
    runtime_version: str
    huge_pages: Mapping[int, int] = field(default_factory=dict)


def go_architecture(machine: str) -> str:
    """What `uname -m` says in the words of Go, which Kubernetes uses."""
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)


def os_image(os_release: str) -> str:
    """PRETTY_NAME of an os-release file (os-release(5))."""
    for line in os_release.splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return "Linux"


def total_memory_kib(meminfo: str) -> int:
    """MemTotal of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


def node_object(config: KubeletConfig, machine: Machine, now: float) -> Object:
    """The Node as it registers itself."""
    labels = {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        **config.labels,
    }
    cidrs = [str(cidr) for cidr in config.pod_cidrs]
    spec: Object = {"podCIDR": cidrs[0], "podCIDRs": cidrs}
    if config.taints:
        spec["taints"] = [
            {"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect}
            for taint in config.taints
        ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels,
            "annotations": {MODE_ANNOTATION: config.mode.value},
        },
        "spec": spec,
        "status": node_status(config, machine, ready_since=now, now=now),
    }


def huge_page_kib(folder: str) -> int | None:
    """The size of pages a folder of /sys/kernel/mm/hugepages is about ("hugepages-2048kB"); None for another name."""
    found = re.fullmatch(r"hugepages-(\d+)kB", folder)
    return int(found[1]) if found else None


def _size(kib: int) -> str:
    """KiB as a quantity in the largest unit that leaves no rest: "2Mi"; "0" for none."""
    units = iter(("Ki", "Mi", "Gi"))
    unit = next(units)
    while kib and kib % 1024 == 0 and unit != "Gi":
        kib, unit = kib // 1024, next(units)
    return f"{kib}{unit}" if kib else "0"


_HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


_FINE = ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady")
"""What a kubelet tells of the conditions above when they begin to hold, in its order (`nodestatus/setters.go`)."""


def fine_events(node_name: str) -> list[tuple[str, str]]:
    """Reason and message of the events about a node whose conditions are as they should be."""
    return [(reason, _is_now(node_name, reason)) for reason in _FINE]


def schedulable_event(node_name: str, *, unschedulable: bool) -> tuple[str, str]:
    """Reason and message of the event about a node that was cordoned or uncordoned."""
    reason = "NodeNotSchedulable" if unschedulable else "NodeSchedulable"
    return reason, _is_now(node_name, reason)


def _is_now(node_name: str, reason: str) -> str:
    return f"Node {node_name} status is now: {reason}"


def allocatable(machine: Machine) -> dict[str, str]:
    """All that the machine has: every node may use it."""
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.storage_kib}Ki",
        **{f"hugepages-{_size(kib)}": _size(kib * count) for kib, count in sorted(machine.huge_pages.items())},
        "memory": f"{machine.memory_kib}Ki",
        "pods": str(MAX_PODS),
    }


def node_status(config: KubeletConfig, machine: Machine, *, ready_since: float, now: float) -> Object:
    """The Node's status; ready_since: when this kubelet began to post it."""
    resources = allocatable(machine)
    return {
        "addresses": [
            *({"type": "InternalIP", "address": str(address)} for address in config.addresses),
            {"type": "Hostname", "address": config.node_name},
        ],
        "allocatable": resources,
        "capacity": resources,
        "conditions": [
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(ready_since),
                "reason": reason,
                "message": message,
            }
            for kind, status, reason, message in _HEALTHY
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"fairway://{machine.runtime_version}",
            "kernelVersion": machine.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.machine_id,
        },
    }


def is_ready(found: Object) -> bool:
    """Whether the API holds the Node to be Ready."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def is_unschedulable(found: Object) -> bool:
    """Whether somebody has cordoned the Node."""
    return bool((found.get("spec") or {}).get("unschedulable"))


REPLACE = {"$patch": "replace"}
"""An element of a strategic merge patch's list: it is the whole list. A node's addresses merge by their type, and it
may have two of one (`pkg/util/node` PatchNodeStatus)."""


def lease_object(node_name: str, node_uid: str, now: float) -> Object:
    """The node's heartbeat; it goes when the Node goes."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node_name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid}],
        },
        "spec": {
            "holderIdentity": node_name,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": micro_time(now),
        },
    }
