"""An explanation and a matrix as text, Markdown, JSON and picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from fairway.api.codec import decode_cluster
from fairway.api.manifest import parse_objects
from fairway.api.types import Key
from fairway.base.errors import Refused
from fairway.plan.options import Mode
from fairway.trace.explain import Question, explain
from fairway.trace.journey import PodSource
from fairway.trace.names import parse_sender, parse_target
from fairway.trace.picture import draw
from fairway.trace.scene import Scene
from fairway.trace.sentences import escape_markdown, markdown, text_lines
from fairway.trace.service import service_cells, summary_of
from fairway.trace.table import Matrix, legend_of, markdown_table, matrix_json, matrix_of, parts_of, text_table
from tests.trace.study import objects_of, scene_of, told_of, view_of

SERVICE = Key("default", "svc-nodeport")
SVG = "{http://www.w3.org/2000/svg}"


def matrix_in(scene: Scene, key: Key = SERVICE) -> Matrix:
    found = service_cells(key, scene, None, PodSource.NODE)
    return matrix_of(key, summary_of(scene.service(key), scene), found)


def matrix(scenario: str, key: Key = SERVICE) -> Matrix:
    return matrix_in(scene_of(view_of(scenario)), key)


LOCAL_TEXT = """\
explained: mypc (172.18.0.100) -> myk8s-control-plane:31303 (172.18.0.3:31303/tcp), at myk8s-control-plane (nftables)
DROP: it vanishes; the client hears nothing, and times out
  It meets the rules of myk8s-control-plane first: 172.18.0.3 is its address.

 1. 172.18.0.3:31303/tcp is the node port of Service default/svc-nodeport, port svc-webport (9000).
     Service default/svc-nodeport: spec.ports[0].nodePort=31303
     ip fairway nat-prerouting: jump services
     ip fairway services: ip daddr @nodeport-ips meta priority set meta l4proto . th dport map @nodeports goto dispatch
       @nodeport-ips { 172.18.0.3 }
       @nodeports { tcp . 31303 : 24:0 }
     ip fairway dispatch: meta priority vmap @classes
       @classes { 24:0 : goto nodeport-local-0 }
 2. Its source 172.18.0.100 is from elsewhere: neither in the pod network 10.10.0.0/16 nor myk8s-control-plane.
 3. Service default/svc-nodeport has no endpoint here that may be used: the policy admits endpoints of this node only, \
and 3 usable endpoints of the Service run on others; it is dropped without a word.
     Service default/svc-nodeport: spec.externalTrafficPolicy=Local
     ip fairway nodeport-local-0: drop

What would change it, any one of these
  - Send it to a node with an endpoint: myk8s-worker (172.18.0.5:31303), myk8s-worker2 (172.18.0.2:31303), \
myk8s-worker3 (172.18.0.4:31303)
  - Let every node send to every endpoint; endpoints then see a node's address, not the client's
      kubectl -n default patch service svc-nodeport -p '{"spec":{"externalTrafficPolicy":"Cluster"}}'
  - Run an endpoint on myk8s-control-plane: more replicas, or a DaemonSet
"""


def test_the_text_of_an_explanation():
    told = told_of("nodeport-local", "mypc", "myk8s-control-plane:31303")
    assert "explained: " + "".join(f"{line}\n" for line in text_lines(told)) == LOCAL_TEXT


def test_an_endpoint_is_told_with_its_chance_and_its_own_element():
    told = told_of("nodeport-one-unready", "mypc", "myk8s-worker:31303")
    lines = [str(line) for line in text_lines(told)]
    start = next(index for index, line in enumerate(lines) if "50 %" in line)
    assert lines[start : start + 5] == [
        "   50 %  10.10.1.3:8080  source rewritten  on myk8s-worker",
        "         @nodeport-backends { tcp . 31303 . 0 : 10.10.1.3 . 8080 }",
        "   50 %  10.10.3.4:8080  source rewritten  on myk8s-worker3",
        "         @nodeport-backends { tcp . 31303 . 1 : 10.10.3.4 . 8080 }",
        "    not  10.10.2.3, on myk8s-worker2: it is not ready",
    ]


LOCAL_TABLE = """\
                                            ClusterIP             myk8s-control-plane   myk8s-worker          \
myk8s-worker2         myk8s-worker3
from                                        10.200.1.60:9000/tcp  172.18.0.3:31303/tcp  172.18.0.5:31303/tcp  \
172.18.0.2:31303/tcp  172.18.0.4:31303/tcp
a pod on myk8s-control-plane  10.10.0.254   DNAT 3                DNAT 3                DNAT 1*               \
DNAT 1*               DNAT 1*
a pod on myk8s-worker         10.10.1.253   DNAT 3                DROP*                 DNAT 3                \
DNAT 1*               DNAT 1*
a pod on myk8s-worker2        10.10.2.252   DNAT 3                DROP*                 DNAT 1*               \
DNAT 3                DNAT 1*
a pod on myk8s-worker3        10.10.3.251   DNAT 3                DROP*                 DNAT 1*               \
DNAT 1*               DNAT 3
myk8s-control-plane           172.18.0.3    DNAT 3 SNAT           DNAT 3 SNAT           DNAT 1                \
DNAT 1                DNAT 1
myk8s-worker                  172.18.0.5    DNAT 3 SNAT           DROP                  DNAT 3 SNAT           \
DNAT 1                DNAT 1
myk8s-worker2                 172.18.0.2    DNAT 3 SNAT           DROP                  DNAT 1                \
DNAT 3 SNAT           DNAT 1
myk8s-worker3                 172.18.0.4    DNAT 3 SNAT           DROP                  DNAT 1                \
DNAT 1                DNAT 3 SNAT
mypc                          172.18.0.100  (DNAT 3 SNAT)         DROP                  DNAT 1                \
DNAT 1                DNAT 1
"""


def test_the_table_of_the_study_under_local():
    assert "".join(f"{line}\n" for line in text_table(matrix("nodeport-local"))) == LOCAL_TABLE


def test_a_service_of_both_families_has_a_table_for_each():
    objects = json.loads(objects_of("nodeport-local").read_text())
    for obj in objects["items"]:
        if obj["kind"] == "Service" and obj["metadata"]["name"] == "svc-nodeport":
            obj["spec"]["clusterIPs"].append("fd00:200::60")
        if obj["kind"] == "Node":
            last = obj["status"]["addresses"][0]["address"].rpartition(".")[2]
            obj["status"]["addresses"].append({"type": "InternalIP", "address": f"fd00:18::{last}"})
    found = matrix_in(scene_of(decode_cluster(parse_objects(json.dumps(objects), source="test"))))
    parts = parts_of(found)
    assert [name for name, _ in parts] == ["IPv4", "IPv6"]
    for (_, part), version in zip(parts, (4, 6), strict=True):
        assert {each.address.version for each in (*part.askers, *part.entries)} == {version}
        assert len(part.squares) == len(part.askers) * len(part.entries)
    assert {square.words for square in parts[1][1].squares.values()} == {"REJECT", "REJECT*", "(REJECT)"}
    texts = [element.text for element in ElementTree.fromstring(draw(found)).iter(f"{SVG}text")]
    assert {"IPv4", "IPv6"} <= set(texts)


def test_many_doors_are_told_in_a_table_for_each_port():
    objects = json.loads(objects_of("nodeport-local").read_text())
    for obj in objects["items"]:
        if obj["metadata"]["name"] == "svc-nodeport":
            obj["spec"]["ports"].append({"name": "more", "port": 9001, "nodePort": 31304})
    found = matrix_in(scene_of(decode_cluster(parse_objects(json.dumps(objects), source="test"))))
    assert [name for name, _ in parts_of(found)] == [
        "IPv4, default/svc-nodeport:more",
        "IPv4, default/svc-nodeport:svc-webport",
    ]


def test_the_summary_says_what_decides():
    assert matrix("nodeport-local").summary == (
        "NodePort: port svc-webport 9000/tcp, node port 31303",
        "externalTrafficPolicy Local, internalTrafficPolicy Cluster",
        "3 of 3 endpoints ready: myk8s-worker 1, myk8s-worker2 1, myk8s-worker3 1",
    )


def test_the_endpoints_of_two_families_are_counted_apart():
    objects = json.loads(objects_of("nodeport-local").read_text())["items"]
    four = next(each for each in objects if each["metadata"]["name"].startswith("svc-nodeport-"))
    six = {
        **four,
        "metadata": {**four["metadata"], "name": "svc-nodeport-six"},
        "addressType": "IPv6",
        "endpoints": [{"addresses": ["fd00:10:0:1::3"], "nodeName": "myk8s-worker", "conditions": {"ready": False}}],
    }
    scene = scene_of(decode_cluster([*objects, six]))
    assert matrix_in(scene).summary[2] == (
        "IPv4: 3 of 3 endpoints ready: myk8s-worker 1, myk8s-worker2 1, myk8s-worker3 1; IPv6: 0 of 1 endpoints ready"
    )


def test_the_legend_holds_the_signs_that_are_there():
    assert [sign for sign, _ in legend_of(matrix("nodeport-local"))] == ["DNAT n", "DNAT n SNAT", "DROP", "*", "(...)"]
    assert [sign for sign, _ in legend_of(matrix("nodeport-no-endpoints"))] == ["REJECT", "*", "(...)"]


def test_who_is_outside_enters_a_load_balancers_address_at_any_node():
    found = matrix("loadbalancer-local", Key("default", "svc-lb"))
    column = next(index for index, entry in enumerate(found.entries) if entry.title == "load balancer")
    assert found.squares[len(found.askers) - 1, column].words == (
        "DROP by myk8s-control-plane, myk8s-worker3 / DNAT 1 by myk8s-worker, myk8s-worker2"
    )


def test_beside_those_whom_source_ranges_keep_out_somebody_stands_whom_they_admit():
    scene = scene_of(view_of("loadbalancer-source-ranges"), clients={})
    found = matrix_in(scene, Key("default", "svc-lb"))
    outside = [(asker.name, str(asker.address)) for asker in found.askers if not asker.node]
    assert outside == [("outside", "203.0.113.9"), ("outside, in 172.18.0.0/24", "172.18.0.1")]


def test_a_service_without_doors_has_no_matrix_but_a_reason():
    with pytest.raises(Refused, match="it is headless: DNS answers with its pods' addresses"):
        matrix("headless-and-external-name", Key("default", "svc-headless"))


def test_each_cell_of_the_json_has_its_packet_and_fate():
    answer = json.loads(json.dumps(matrix_json(matrix("nodeport-local"))))
    assert (answer["service"], len(answer["cells"])) == ("default/svc-nodeport", 4 * 5 + 4 * 5 + 4 + 4)
    cell = next(
        each
        for each in answer["cells"]
        if each["from"]["name"] == "a pod on myk8s-worker" and each["by"]["node"] == "myk8s-control-plane"
    )
    assert (cell["node"], cell["source"], cell["action"]) == ("myk8s-control-plane", "172.18.0.5", "DROP")


def hostile_scene(text: str) -> Scene:
    """The study's objects with a name that has all signs in it."""
    objects = json.loads(objects_of("nodeport-cluster").read_text())
    for obj in objects["items"]:
        if obj["metadata"]["name"].startswith("svc-nodeport"):
            obj["spec" if obj["kind"] == "Service" else "x"] = obj.get("spec", {})
            obj["metadata"]["name"] = obj["metadata"]["name"].replace("svc-nodeport", text)
            labels = obj["metadata"].get("labels", {})
            if labels:
                labels["kubernetes.io/service-name"] = text
    return scene_of(decode_cluster(parse_objects(json.dumps(objects), source="test")))


HOSTILE = "a<b>&\"'|`*_[x](y)\x1b[31m\n$(id)"


def test_the_picture_is_well_formed_and_escapes_what_it_is_given():
    picture = draw(matrix_in(hostile_scene(HOSTILE), Key("default", HOSTILE)))
    root = ElementTree.fromstring(picture)
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert texts[0] == "Service default/a<b>&\"'|`*_[x](y)\\x1b[31m\\n$(id)"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "title", "rect", "text"}


def test_the_picture_says_in_words_what_it_says_in_colours():
    found = matrix("nodeport-local")
    root = ElementTree.fromstring(draw(found))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for square in found.squares.values():
        assert square.words in texts
    for sign, _ in legend_of(found):
        assert sign in texts


def test_no_text_leaves_the_picture():
    root = ElementTree.fromstring(draw(matrix("loadbalancer-local", Key("default", "svc-lb"))))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for element in root.iter(f"{SVG}rect"):
        assert float(element.get("x", 0)) + float(element.get("width", 0)) <= width
        assert float(element.get("y", 0)) + float(element.get("height", 0)) <= height


def test_markdown_shows_signs_and_makes_nothing_of_them():
    assert escape_markdown("a|b `c` <d> *e*\n# f") == "a\\|b \\`c\\` \\<d\\> \\*e\\*\\\\n\\# f"
    page = markdown_table(matrix_in(hostile_scene(HOSTILE), Key("default", HOSTILE)))
    assert "<b>" not in page.replace("\\<b\\>", "")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {len(line.replace("\\|", "").split("|")) for line in rows} == {8}


def test_markdown_fences_rules_so_that_none_can_end_the_block():
    scene = hostile_scene("x``````y")
    question = Question(
        sender=parse_sender("mypc", scene), target=parse_target("myk8s-worker:31303", scene), node="myk8s-worker"
    )
    page = markdown(explain(question, scene_of(scene.view, Mode.IPTABLES)))
    fences = [line.strip() for line in page.splitlines() if line.strip() and not line.strip().strip("`")]
    assert "`" * 7 in fences
    assert all(fences.count(fence) % 2 == 0 for fence in fences)


def test_a_command_quotes_the_names_it_is_given():
    objects = json.loads(objects_of("nodeport-local").read_text().replace('"svc-nodeport"', '"$(reboot)"'))
    scene = scene_of(decode_cluster(parse_objects(json.dumps(objects), source="test")))
    target = parse_target("myk8s-control-plane:31303", scene)
    told = explain(Question(sender=parse_sender("mypc", scene), target=target), scene)
    commands = [remedy.command for remedy in told.remedies if remedy.command]
    assert commands == [
        'kubectl -n default patch service \'$(reboot)\' -p \'{"spec":{"externalTrafficPolicy":"Cluster"}}\''
    ]
