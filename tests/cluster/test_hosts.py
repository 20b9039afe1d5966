"""People name a pod by its own name; a name that is none is answered with what is near."""

import pytest

from fairway.base.errors import Refused
from fairway.cluster.hosts import find_host
from fairway.fabric.spawner import HostKind, HostRecord


def record(name: str, kind: HostKind) -> HostRecord:
    return HostRecord(name=name, kind=kind, pid=2, hostname=name.rpartition("/")[2])


NODE, CLIENT = record("myk8s-worker", HostKind.NODE), record("mypc", HostKind.CLIENT)
POD, SAME = record("default/web", HostKind.POD), record("other/web", HostKind.POD)
SINGLE = record("default/net-pod", HostKind.POD)
ALL = [NODE, CLIENT, POD, SAME, SINGLE]


@pytest.mark.parametrize(
    ("target", "found"),
    [("mypc", CLIENT), ("myk8s-worker", NODE), ("other/web", SAME), ("net-pod", SINGLE), ("default/net-pod", SINGLE)],
)
def test_nodes_clients_and_pods_are_found_by_name(target: str, found: HostRecord) -> None:
    assert find_host(ALL, target) is found


def test_a_pod_of_two_namespaces_must_be_said_in_full() -> None:
    with pytest.raises(Refused, match=r"several pods \(default/web, other/web\): say NAMESPACE/NAME"):
        find_host(ALL, "web")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'net-pod'"):
        find_host(ALL, "net-pood")


def test_a_name_near_none_is_answered_with_nodes_and_clients() -> None:
    with pytest.raises(Refused, match="there are myk8s-worker, mypc, and the pods of `kubectl get pods -A`"):
        find_host(ALL, "zzzzzz")
