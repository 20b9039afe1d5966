"""What an explanation says, in the study's cluster: question -> the very words."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from fairway.api.codec import decode_cluster
from fairway.api.manifest import parse_objects
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.flow.trace import Disposition
from fairway.plan.options import Mode, parse_options
from fairway.trace.explain import Explanation, Question, explain
from fairway.trace.journey import PodSource
from fairway.trace.names import parse_sender, parse_target
from fairway.trace.scene import Scene
from fairway.trace.sentences import as_json, verdict
from tests.trace.study import objects_of, scene_of, told_of, view_of

ANY_NODE = "the policy admits endpoints of every node"
NODE_PORT = "is the node port of Service default/svc-nodeport, port svc-webport (9000)"
PATCH = 'kubectl -n default patch service svc-nodeport -p \'{"spec":{"externalTrafficPolicy":"Cluster"}}\''
KEPT = "It keeps its source: the policy keeps traffic from elsewhere on this node, so the client keeps its address"
HERE_ONLY = "the policy admits endpoints of this node only"
THREE = "It is sent on to one of 3 endpoints, each as likely as the next: 3 of 3 endpoints may be used"
NODES = "myk8s-worker (172.18.0.5:31303), myk8s-worker2 (172.18.0.2:31303), myk8s-worker3 (172.18.0.4:31303)"


def elsewhere(source: str, node: str) -> str:
    return f"Its source {source} is from elsewhere: neither in the pod network 10.10.0.0/16 nor {node}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A question and its answer. back: the way back. remedies: what would change it, with its command."""

    scenario: str
    sender: str
    target: str
    verdict: str
    steps: tuple[str, ...]
    peer: str = ""
    back: tuple[str, ...] = ()
    remedies: tuple[tuple[str, str], ...] = ()
    node: str = ""


ROWS = [
    Row(  # S5, S8
        scenario="nodeport-cluster",
        sender="mypc",
        target="myk8s-control-plane:31303",
        verdict="DNAT: it goes to one of 3 endpoints, and its source becomes an address of myk8s-control-plane",
        steps=(
            f"172.18.0.3:31303/tcp {NODE_PORT}",
            elsewhere("172.18.0.100", "myk8s-control-plane"),
            f"Its source becomes an address of myk8s-control-plane: {ANY_NODE}, so the answer must come back this way",
            THREE,
        ),
        peer="The endpoint sees an address of myk8s-control-plane, normally 172.18.0.3. It never learns 172.18.0.100",
        back=(
            (
                "The endpoint answers myk8s-control-plane, whose address it saw; there conntrack undoes both "
                "rewritings, and the answer goes on from 172.18.0.3:31303 to 172.18.0.100"
            ),
        ),
    ),
    Row(  # S10, a node with a pod
        scenario="nodeport-local",
        sender="mypc",
        target="myk8s-worker:31303",
        verdict="DNAT: it goes to 10.10.1.3:8080, and keeps its source",
        steps=(
            f"172.18.0.5:31303/tcp {NODE_PORT}",
            elsewhere("172.18.0.100", "myk8s-worker"),
            KEPT,
            "It is sent on to 10.10.1.3:8080: 1 of 3 endpoints is ready on myk8s-worker",
        ),
        peer="The endpoint sees 172.18.0.100 (mypc) as its peer",
        back=(
            (
                "The answer goes to 172.18.0.100 by way of myk8s-worker, since the endpoint runs there: conntrack puts "
                "172.18.0.5:31303 back as its source"
            ),
        ),
    ),
    Row(  # S10, the node with none
        scenario="nodeport-local",
        sender="mypc",
        target="myk8s-control-plane:31303",
        verdict="DROP: it vanishes; the client hears nothing, and times out",
        steps=(
            f"172.18.0.3:31303/tcp {NODE_PORT}",
            elsewhere("172.18.0.100", "myk8s-control-plane"),
            (
                f"Service default/svc-nodeport has no endpoint here that may be used: {HERE_ONLY}, and 3 usable "
                "endpoints of the Service run on others; it is dropped without a word"
            ),
        ),
        remedies=(
            (f"Send it to a node with an endpoint: {NODES}", ""),
            ("Let every node send to every endpoint; endpoints then see a node's address, not the client's", PATCH),
            ("Run an endpoint on myk8s-control-plane: more replicas, or a DaemonSet", ""),
        ),
    ),
    Row(  # a pod that calls another node's port
        scenario="nodeport-local",
        sender="10.10.1.3",
        target="myk8s-worker2:31303",
        verdict="DNAT: it goes to 10.10.2.3:8080, and keeps its source",
        steps=(
            (
                "No rule of myk8s-worker is for 172.18.0.2:31303/tcp, which is myk8s-worker2's: it is routed there, "
                "and myk8s-worker2's rules decide"
            ),
            (
                "As it leaves the pod network, the network plugin of myk8s-worker rewrites its source to 172.18.0.5: "
                "to myk8s-worker2 it comes from a node, not from a pod"
            ),
            f"172.18.0.2:31303/tcp {NODE_PORT}",
            elsewhere("172.18.0.5", "myk8s-worker2"),
            KEPT,
            "It is sent on to 10.10.2.3:8080: 1 of 3 endpoints is ready on myk8s-worker2",
        ),
        peer="The endpoint sees 172.18.0.5 (node myk8s-worker) as its peer, not the pod's own 10.10.1.3",
        back=(
            (
                "The answer goes to 172.18.0.5 by way of myk8s-worker2, since the endpoint runs there: conntrack puts "
                "172.18.0.2:31303 back as its source"
            ),
            "myk8s-worker in turn puts 10.10.1.3 back as its destination, for the pod",
        ),
    ),
    Row(  # S9 and S13
        scenario="nodeport-affinity",
        sender="10.10.1.3",
        target="svc/svc-nodeport",
        verdict="DNAT: it goes to one of 3 endpoints, and keeps its source unless it meets itself",
        steps=(
            "10.200.1.60:9000/tcp is the clusterIP of Service default/svc-nodeport, port svc-webport (9000)",
            "Its source 10.10.1.3 is a pod's: it is in the pod network 10.10.0.0/16",
            f"It keeps its source: {ANY_NODE}, and pods keep their address",
            THREE,
            (
                "The choice is kept for 10.10.1.3: it stays with that endpoint until it has opened no connection for 3 "
                "h; every node remembers for itself"
            ),
            (
                "Should the choice fall on 10.10.1.3:8080, which is the sender itself, its source is rewritten: else "
                "it would answer itself, and never hear of the Service again"
            ),
        ),
        peer="The endpoint sees 10.10.1.3 (on myk8s-worker) as its peer",
        back=(
            (
                "The endpoint answers 10.10.1.3, which is on myk8s-worker: there conntrack puts 10.200.1.60:9000 back "
                "as the answer's source"
            ),
        ),
    ),
    Row(
        scenario="nodeport-no-endpoints",
        sender="mypc",
        target="myk8s-worker:31303",
        verdict="REJECT: it is refused at once, with ICMP port unreachable",
        steps=(
            f"172.18.0.5:31303/tcp {NODE_PORT}",
            (
                "Service default/svc-nodeport has no endpoint to send it to: no EndpointSlice of IPv4 has the label "
                "kubernetes.io/service-name=svc-nodeport; it is rejected, so the sender learns at once"
            ),
        ),
        remedies=(
            (
                (
                    "Give it pods: none with an address is among its endpoints; compare the selector with the pods' "
                    "labels, and where they match, see whether the endpoint slice controller runs"
                ),
                "kubectl -n default get service svc-nodeport -o wide; kubectl -n default get pods --show-labels",
            ),
            (
                "If there ought to be pods, see whether they are scaled to none",
                "kubectl -n default get deployments,replicasets,statefulsets",
            ),
        ),
    ),
    Row(
        scenario="loadbalancer-source-ranges",
        sender="outside",
        target="172.18.255.200:80",
        node="myk8s-worker",
        verdict="DROP: it vanishes; the client hears nothing, and times out",
        steps=(
            (
                "172.18.255.200:80/tcp is the load balancer's address of Service default/svc-lb, port http (80), which "
                "every node serves itself"
            ),
            "Its source 203.0.113.9 is in none of the ranges that may use the load balancer's address: it is dropped",
        ),
        remedies=(
            (
                "Admit the source",
                (
                    "kubectl -n default patch service svc-lb -p "
                    '\'{"spec":{"loadBalancerSourceRanges":["172.18.0.0/24","192.168.10.0/24","203.0.113.9/32"]}}\''
                ),
            ),
            (
                (
                    "Know that the ranges guard the load balancer's address alone: the node port 30080 is open to "
                    "everybody who reaches a node"
                ),
                "",
            ),
        ),
    ),
    Row(
        scenario="loadbalancer-local",
        sender="mypc",
        target="myk8s-worker3:31999",
        verdict="NONE: no rule of a Service takes it",
        steps=(
            (
                "172.18.0.4:31999/tcp is the health check node port of Service default/svc-lb: myk8s-worker3 has no "
                "ready endpoints, and its agent answers 503, so that load balancers leave it out; no rule is needed "
                "for that"
            ),
        ),
    ),
    Row(
        scenario="nodeport-cluster",
        sender="mypc",
        target="myk8s-worker:9000",
        verdict="NONE: no rule of a Service takes it",
        steps=(
            (
                "No Service has 172.18.0.5:9000/tcp; it is for myk8s-worker itself: a process that listens at 9000/tcp "
                "there gets it, and else it refuses the connection"
            ),
        ),
        remedies=(
            (
                (
                    "Call myk8s-worker:31303: 9000 is the port of Service default/svc-nodeport at its clusterIP, and "
                    "31303 its node port"
                ),
                "",
            ),
        ),
    ),
    Row(
        scenario="nodeport-cluster",
        sender="mypc",
        target="8.8.8.8:53/udp",
        node="myk8s-worker",
        verdict="NONE: no rule of a Service takes it",
        steps=(
            (
                "No Service has 8.8.8.8:53/udp; nobody in the cluster has the address: it follows the routes of "
                "myk8s-worker, most likely its default route"
            ),
        ),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.scenario}: {row.sender} to {row.target}")
def test_a_question_has_its_answer(row: Row):
    told = told_of(row.scenario, row.sender, row.target, node=row.node)
    assert verdict(told) == row.verdict
    assert tuple(step.text for step in told.steps) == row.steps
    assert (told.peer, told.way_back) == (row.peer, row.back)
    assert tuple((each.text, each.command) for each in told.remedies) == row.remedies
    assert told.defect == ""


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.scenario}: {row.sender} to {row.target}")
def test_rules_and_plan_agree_in_both_modes(row: Row, mode: Mode):
    assert told_of(row.scenario, row.sender, row.target, mode=mode, node=row.node).defect == ""


def rules_of(told: Explanation, step: int) -> list[str]:
    return [f"{rule.where}: {rule.text}" for rule in told.steps[step].rules]


def test_each_step_names_the_iptables_rules_of_the_study_that_take_it():  # S7
    told = told_of("nodeport-cluster", "mypc", "myk8s-control-plane:31303", mode=Mode.IPTABLES)
    owner = '-m comment --comment "default/svc-nodeport:svc-webport"'
    ext, svc = "KUBE-EXT-VTR7MTHHNMFZ3OFS", "KUBE-SVC-VTR7MTHHNMFZ3OFS"
    assert rules_of(told, 0) == [
        'iptables nat: -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        (
            'iptables nat: -A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the '
            'last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
        ),
        f"iptables nat: -A KUBE-NODEPORTS -p tcp {owner} -m tcp --dport 31303 -j {ext}",
    ]
    assert rules_of(told, 2) == [
        (
            f'iptables nat: -A {ext} -m comment --comment "masquerade traffic for default/svc-nodeport:svc-webport '
            'external destinations" -j KUBE-MARK-MASQ'
        ),
        "iptables nat: -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        'iptables nat: -A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        "iptables nat: -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        (
            'iptables nat: -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j '
            "MASQUERADE --random-fully"
        ),
    ]
    assert rules_of(told, 3) == [f"iptables nat: -A {ext} -j {svc}"]
    chains = [backend.rules[0].text.rpartition(" ")[2] for backend in told.backends]
    assert chains == ["KUBE-SEP-XEXGJWEWSC2GPNPZ", "KUBE-SEP-2AEFSWYPQGZTCWEI", "KUBE-SEP-C5MCUQGLTHD455UI"]


def test_each_backend_names_the_element_that_leads_to_it():
    told = told_of("nodeport-cluster", "mypc", "myk8s-control-plane:31303")
    assert [rule.elements for backend in told.backends for rule in backend.rules] == [
        ("@nodeport-backends { tcp . 31303 . 0 : 10.10.1.3 . 8080 }",),
        ("@nodeport-backends { tcp . 31303 . 1 : 10.10.2.3 . 8080 }",),
        ("@nodeport-backends { tcp . 31303 . 2 : 10.10.3.4 . 8080 }",),
    ]
    assert rules_of(told, 0)[-1] == "ip fairway dispatch: meta priority vmap @classes"
    assert told.steps[0].rules[1].elements[-1] == "@nodeports { tcp . 31303 : 22:3 }"


@pytest.mark.parametrize(
    ("scenario", "sender", "target", "left_out"),
    [
        ("nodeport-one-unready", "mypc", "myk8s-worker:31303", ("10.10.2.3, on myk8s-worker2: it is not ready",)),
        (
            "nodeport-local",
            "mypc",
            "myk8s-worker:31303",
            (
                "10.10.2.3, on myk8s-worker2: it is not on myk8s-worker",
                "10.10.3.4, on myk8s-worker3: it is not on myk8s-worker",
            ),
        ),
        (
            "zone-hints",
            "10.10.1.3",
            "svc/svc-clusterip",
            (
                "10.10.2.2, on myk8s-worker2: its hints keep it for clients of zone zone-b",
                "10.10.3.2, on myk8s-worker3: its hints keep it for clients of zone zone-c",
            ),
        ),
    ],
)
def test_endpoints_that_are_left_out_are_told_with_the_reason(
    scenario: str, sender: str, target: str, left_out: tuple[str, ...]
):
    assert told_of(scenario, sender, target).left_out == left_out


def test_json_holds_the_contract():
    told = told_of("nodeport-local", "mypc", "myk8s-worker:31303")
    answer = json.loads(json.dumps(as_json(told)))
    (backend,) = answer["backends"]
    kept = {key: backend[key] for key in ("address", "port", "probability", "masquerade")}
    assert kept == {"address": "10.10.1.3", "port": 8080, "probability": 1.0, "masquerade": False}
    assert (answer["action"], answer["masquerade"], answer["node"]) == ("DNAT", False, "myk8s-worker")
    assert answer["reason"] == (
        "default/svc-nodeport:svc-webport sends it to 10.10.1.3:8080: 1 of 3 endpoints is ready on myk8s-worker"
    )
    assert answer["steps"][2]["object"]["field"] == "spec.externalTrafficPolicy"
    assert answer["defect"] is None


def test_probabilities_are_told_with_four_digits():
    answer = as_json(told_of("nodeport-cluster", "mypc", "myk8s-worker:31303"))
    assert [backend["probability"] for backend in answer["backends"]] == [0.3333, 0.3333, 0.3333]


def ask(sender: str, target: str, *, pod_source: PodSource = PodSource.NODE, node: str = "") -> Explanation:
    scene = scene_of(view_of("nodeport-local"))
    question = Question(
        sender=parse_sender(sender, scene), target=parse_target(target, scene), pod_source=pod_source, node=node
    )
    return explain(question, scene)


def test_a_pod_that_keeps_its_address_takes_the_short_cut_at_another_node():
    told = ask("10.10.1.3", "myk8s-control-plane:31303", pod_source=PodSource.POD)
    assert len(told.backends) == 3
    assert [str(leg.packet.source) for leg in told.legs] == ["10.10.1.3", "10.10.1.3"]


def test_an_address_at_a_node_that_is_named_is_taken_as_it_enters_there():
    told = ask("10.10.1.3", "myk8s-control-plane:31303", node="myk8s-control-plane")
    assert [(leg.node, str(leg.packet.source)) for leg in told.legs] == [("myk8s-control-plane", "10.10.1.3")]
    assert len(told.backends) == 3


@pytest.mark.parametrize(
    ("sender", "target", "node"),
    [
        ("mypc", "myk8s-worker2:31303", "myk8s-worker2"),
        ("10.10.1.3", "svc/svc-nodeport", "myk8s-worker"),
        ("10.10.3.77", "svc/svc-nodeport", "myk8s-worker3"),
        ("myk8s-worker3", "svc/svc-nodeport", "myk8s-worker3"),
    ],
)
def test_the_node_follows_from_the_two_ends(sender: str, target: str, node: str):
    told = ask(sender, target)
    assert told.node == node
    assert told.because_node


def test_a_node_that_does_not_follow_is_asked_for():
    with pytest.raises(Refused, match="does not follow which node the packet enters; say --node NAME"):
        ask("mypc", "svc/svc-nodeport")


def test_ends_of_different_families_are_refused():
    with pytest.raises(Refused, match="have no family in common"):
        ask("172.18.0.9", "[fd00::1]:80")


def test_what_a_node_sends_to_loopback_it_sends_from_there():
    told = told_of("nodeport-cluster", "myk8s-worker", "127.0.0.1:31303", mode=Mode.IPTABLES)
    assert str(told.packet.source) == "127.0.0.1"
    assert told.trace.masquerade


def test_a_pod_that_is_sent_on_out_of_the_pod_network_is_seen_as_its_node():
    told = told_of("nodeport-cluster", "10.10.2.3", "svc/kubernetes")
    assert not told.trace.masquerade  # no rule of a Service rewrites it
    assert told.peer == (
        "The endpoint sees an address of myk8s-worker2 as its peer: it is outside the pod network, and the network "
        "plugin of myk8s-worker2 rewrites the source of what leaves the pod network"
    )
    assert told.way_back == (
        (
            "The endpoint answers myk8s-worker2, whose address it saw; there conntrack undoes both rewritings, and the "
            "answer goes on from 10.200.1.1:443 to 10.10.2.3"
        ),
    )


def test_a_pod_that_is_sent_on_to_its_own_node_keeps_its_address():
    told = told_of("nodeport-cluster", "10.10.1.3", "svc/kubernetes")
    assert told.peer == "The endpoint sees 10.10.1.3 (on myk8s-worker) as its peer"


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("10.200.1.160", "Did you mean 10.200.1.60, an address of Service default/svc-nodeport?"),
        ("172.18.0.55", "Did you mean 172.18.0.5, an address of node myk8s-worker?"),
    ],
)
def test_an_address_that_is_nearly_somebodys_is_asked_about(address: str, meant: str):
    told = told_of("nodeport-cluster", "mypc", f"{address}:9000", node="myk8s-worker")
    assert told.remedies[0].text == meant


def test_where_kube_proxys_iptables_rules_are_known_to_do_something_else_a_note_says_so():
    view = view_of("nodeport-no-endpoints")
    scene = Scene(view, lambda _node, family: parse_options(family=family, node_port_addresses=["192.168.0.0/16"]))
    target = parse_target("myk8s-worker:31303", scene)
    told = explain(Question(sender=parse_sender("outside", scene), target=target), scene)
    assert (told.trace.disposition, told.defect) == (Disposition.NONE, "")
    assert told.notes == (
        (
            "In mode iptables the rules say REJECT, the Plan says NONE: kube-proxy refuses a node port without "
            "backends at every local address, also where node ports are not open"
        ),
    )


def test_an_ipv6_service_is_explained_in_its_family():
    text = objects_of("nodeport-cluster").read_text()
    for old, new in (
        ('"10.200.1.60"', '"fd00:200::60"'),
        ("172.18.0.", "fd00:18::"),
        ("10.10.1.3", "fd00:10:0:1::3"),
        ("10.10.2.3", "fd00:10:0:2::3"),
        ("10.10.3.4", "fd00:10:0:3::4"),
        ('"addressType": "IPv4"', '"addressType": "IPv6"'),
    ):
        text = text.replace(old, new)
    scene = scene_of(decode_cluster(parse_objects(text, source="test")), Mode.IPTABLES)
    target = parse_target("myk8s-worker:31303", scene)
    told = explain(Question(sender=parse_sender("mypc", scene), target=target, family=Family.IPV6), scene)
    assert str(told.asker.address) == "fd00:172:18::100"
    assert [str(backend.candidate) for backend in told.backends] == [
        "[fd00:10:0:1::3]:8080",
        "[fd00:10:0:2::3]:8080",
        "[fd00:10:0:3::4]:8080",
    ]
    assert told.defect == ""
    assert told.steps[0].text.startswith("[fd00:18::5]:31303/tcp is the node port of Service default/svc-nodeport")
