"""People name a pod as kubectl prints it; a name that is none is answered with what is near."""

import pytest

from fairway.base.errors import Refused
from fairway.cluster.hosts import find_host
from fairway.fabric.spawner import HostKind, HostRecord


def fixed(name: str, kind: HostKind) -> HostRecord:
    return HostRecord(name=name, kind=kind, pid=2, hostname=name)


def pod(full_name: str, *, host: str, uid: str = "1d5b") -> HostRecord:
    """As a kubelet makes it: named after the pod where that is free, with the full name as the owner."""
    return HostRecord(name=host, kind=HostKind.POD, pid=3, hostname=host, owner=f"{full_name}/{uid}")


NODE, CLIENT = fixed("myk8s-worker", HostKind.NODE), fixed("mypc", HostKind.CLIENT)
POD, SAME = pod("default/web", host="web"), pod("other/web", host="web-9f2e1")
SINGLE = pod("default/net-pod", host="net-pod")
LIKE_A_CLIENT = pod("default/mypc", host="mypc-77aa0")
ALL = [NODE, CLIENT, POD, SAME, SINGLE, LIKE_A_CLIENT]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("mypc", CLIENT),
        ("myk8s-worker", NODE),
        ("default/web", POD),
        ("other/web", SAME),
        ("net-pod", SINGLE),
        ("default/net-pod", SINGLE),
        ("default/mypc", LIKE_A_CLIENT),
    ],
)
def test_nodes_clients_and_pods_are_found_by_name(target: str, found: HostRecord) -> None:
    assert find_host(ALL, target) is found


def test_a_pod_of_two_namespaces_must_be_said_in_full() -> None:
    with pytest.raises(Refused, match=r"several pods \(default/web, other/web\): say NAMESPACE/NAME"):
        find_host(ALL, "web")


def test_of_a_pod_and_its_replacement_the_newer_is_meant() -> None:
    replacement = pod("default/net-pod", host="net-pod-0c11d", uid="0c11d")
    assert find_host([*ALL, replacement], "net-pod") is replacement


@pytest.mark.parametrize(("target", "meant"), [("net-pood", "net-pod"), ("other/weeb", "other/web")])
def test_a_misspelt_name_is_answered_with_the_nearest(target: str, meant: str) -> None:
    with pytest.raises(Refused, match=f"did you mean '{meant}'"):
        find_host(ALL, target)


@pytest.mark.parametrize("target", ["zzzzzz", ""])
def test_a_name_near_none_is_answered_with_nodes_and_clients(target: str) -> None:
    with pytest.raises(Refused, match="there are myk8s-worker, mypc, and the pods of `kubectl get pods -A`"):
        find_host(ALL, target)
