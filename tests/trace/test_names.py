"""Who and what is meant by the words of a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fairway.api.codec import decode_cluster
from fairway.base.errors import Refused
from fairway.trace.journey import AskerKind
from fairway.trace.names import parse_sender, parse_target
from fairway.trace.scene import Scene
from tests.trace.study import scene_of

NODES = {"worker": ["172.18.0.5", "fd00:18::5"], "worker2": ["172.18.0.2"]}


def service(name: str, ports: list[dict[str, object]], **spec: object) -> dict[str, object]:
    namespace, _, rest = name.rpartition("/")
    metadata = {"name": rest, "namespace": namespace or "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports, **spec}}


def pod(name: str, address: str, node: str, *, host_network: bool = False) -> dict[str, object]:
    namespace, _, rest = name.rpartition("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": rest, "namespace": namespace or "default"},
        "spec": {"nodeName": node, "hostNetwork": host_network},
        "status": {"podIP": address},
    }


OBJECTS = [
    *(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses]},
        }
        for name, addresses in NODES.items()
    ),
    service(
        "web",
        [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        clusterIP="10.200.1.7",
        clusterIPs=["10.200.1.7", "fd00:200::7"],
        type="NodePort",
    ),
    service("kube-system/dns", [{"port": 53, "protocol": "UDP"}], clusterIP="10.200.1.10"),
    service("apart", [{"port": 80}], clusterIP="None"),
    service("alias", [{"port": 80}], type="ExternalName", externalName="example.org"),
    pod("web-1", "10.10.1.3", "worker"),
    pod("kube-system/proxy", "172.18.0.5", "worker", host_network=True),
    pod("a/twin", "10.10.1.8", "worker"),
    pod("b/twin", "10.10.1.9", "worker"),
]


@pytest.fixture
def scene() -> Scene:
    return scene_of(decode_cluster(OBJECTS))


@pytest.mark.parametrize(
    ("text", "kind", "node", "address"),
    [
        ("172.18.0.100", AskerKind.OUTSIDE, "", "172.18.0.100"),
        ("mypc", AskerKind.OUTSIDE, "", "172.18.0.100"),
        ("outside", AskerKind.OUTSIDE, "", "203.0.113.9"),
        ("172.18.0.5", AskerKind.NODE, "worker", "172.18.0.5"),
        ("worker2", AskerKind.NODE, "worker2", "172.18.0.2"),
        ("10.10.1.3", AskerKind.POD, "worker", "10.10.1.3"),
        ("10.10.7.7", AskerKind.POD, "", "10.10.7.7"),
        ("010.010.001.003", AskerKind.POD, "worker", "10.10.1.3"),
        ("pod/web-1", AskerKind.POD, "worker", "10.10.1.3"),
        ("default/web-1", AskerKind.POD, "worker", "10.10.1.3"),
        ("web-1", AskerKind.POD, "worker", "10.10.1.3"),
        ("pod/a/twin", AskerKind.POD, "worker", "10.10.1.8"),
        ("kube-system/proxy", AskerKind.NODE, "worker", "172.18.0.5"),
    ],
)
def test_senders(scene: Scene, text: str, kind: AskerKind, node: str, address: str):
    sender = parse_sender(text, scene)
    assert (sender.kind, sender.node, str(sender.addresses[0])) == (kind, node, address)


@pytest.mark.parametrize(
    ("text", "address", "port", "protocol"),
    [
        ("10.200.1.7:80", "10.200.1.7", 80, "tcp"),
        ("10.200.1.7:53/UDP", "10.200.1.7", 53, "udp"),
        ("[fd00::1]:80/sctp", "fd00::1", 80, "sctp"),
        ("worker:30080", "172.18.0.5", 30080, "tcp"),
        ("mypc:22", "172.18.0.100", 22, "tcp"),
        ("web-1:8080", "10.10.1.3", 8080, "tcp"),
        ("pod/web-1:8080", "10.10.1.3", 8080, "tcp"),
        ("svc/web:http", "10.200.1.7", 80, "tcp"),
        ("svc/web:80", "10.200.1.7", 80, "tcp"),
        ("svc/web:53", "10.200.1.7", 53, "udp"),
        ("svc/web/udp", "10.200.1.7", 53, "udp"),
        ("service/default/web:dns", "10.200.1.7", 53, "udp"),
        ("svc/dns", "10.200.1.10", 53, "udp"),
    ],
)
def test_targets(scene: Scene, text: str, address: str, port: int, protocol: str):
    target = parse_target(text, scene)
    assert (str(target.addresses[0]), target.port, target.protocol.value) == (address, port, protocol)


def test_a_target_has_an_address_of_each_family(scene: Scene):
    assert [str(each) for each in parse_target("svc/web:http", scene).addresses] == ["10.200.1.7", "fd00:200::7"]
    assert [str(each) for each in parse_target("worker:30080", scene).addresses] == NODES["worker"]


SENDER, TARGET = parse_sender, parse_target


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (SENDER, "mypcc", "--from mypcc: nobody has that name; did you mean mypc?; else give an IP address, or "),
        (SENDER, "pod/web-2", "--from pod/web-2: there is no such pod; did you mean default/web-1?"),
        (SENDER, "twin", "several namespaces have a pod twin; say pod/a/twin or pod/b/twin"),
        (SENDER, "svc/web", "--from svc/web: a Service sends nothing itself; name one of its pods, as pod/NAME"),
        (SENDER, "fe80::1%eth0", "--from fe80::1%eth0: nobody has that name"),
        (TARGET, "worker", "--to worker: it has no port; write worker:PORT, or svc/NAME for a Service"),
        (TARGET, "worker:0", "--to worker:0: there is no port 0; ports are from 1 to 65535"),
        (TARGET, "worker:70000", "--to worker:70000: there is no port 70000; ports are from 1 to 65535"),
        (TARGET, "worker:http", "--to worker:http: 'http' is no port; give its number, from 1 to 65535"),
        (TARGET, "worker:80/icmp", "icmp is no protocol; those of Services are tcp, udp and sctp"),
        (TARGET, "workerr:80", "--to workerr:80: nothing is named workerr; did you mean worker?"),
        (TARGET, "300.1.2.3:80", "--to 300.1.2.3:80: '300.1.2.3' is an address of no family"),
        (TARGET, "fd00::1:80", "an IPv6 address stands in brackets before its port, as in [fd00::1]:80"),
        (TARGET, "[fd00::1]", "--to [fd00::1]: it has no port; write [fd00::1]:PORT"),
        (TARGET, "web:80", "--to web:80: web is a Service; write svc/web:80"),
        (TARGET, "svc/wob:80", "--to svc/wob:80: there is no Service default/wob; did you mean default/web?"),
        (TARGET, "svc/web", "say which port, after a colon; its ports are: http 80/tcp, dns 53/udp"),
        (TARGET, "svc/web:8080", "it has no port 8080; its ports are: http 80/tcp, dns 53/udp"),
        (TARGET, "svc/web:30080", "30080 is its node port, which is open on nodes; write NODE:30080"),
        (TARGET, "svc/web:70000", "there is no port 70000; ports are from 1 to 65535"),
        (TARGET, "svc/apart", "it is headless, so DNS answers with its pods' addresses; name a pod instead"),
        (TARGET, "svc/alias", "it is an ExternalName: an alias in DNS, which no packet is ever sent to"),
        (TARGET, "a\nb:80", "--to a\\nb:80: nothing is named a\\nb"),
    ],
)
def test_what_is_wrong_is_told_with_the_way_out(
    scene: Scene, parse: Callable[[str, Scene], object], text: str, words: str
):
    with pytest.raises(Refused) as refused:
        parse(text, scene)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
