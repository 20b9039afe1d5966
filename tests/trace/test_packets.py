"""Many packets, a line each."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fairway.base.addresses import Family, parse_address
from fairway.flow.packet import Protocol
from fairway.plan.options import Mode
from fairway.trace.explain import packet_of
from fairway.trace.packets import Answers, answers
from fairway.trace.scene import Scene
from fairway.trace.sentences import fate_json
from tests.trace.study import scene_of, view_of


@pytest.fixture
def scene() -> Scene:
    return scene_of(view_of("nodeport-local"), Mode.NFTABLES)


def ask(scene: Scene, line: dict[str, Any] | str, node: str = "") -> tuple[dict[str, Any], bool]:
    text = line if isinstance(line, str) else json.dumps(line)
    answer, good = Answers(scene, node).answer(7, text.encode())
    return json.loads(answer), good


SOURCES = ["172.18.0.100", "172.18.0.10", "10.10.1.3", "10.10.1.30", "10.10.2.3", "172.18.0.5", "203.0.113.9"]
PLACES = [("172.18.0.5", 31303), ("172.18.0.3", 31303), ("10.200.1.60", 9000), ("10.200.1.60", 1), ("8.8.8.8", 53)]


def test_what_is_answered_from_memory_is_what_evaluate_says(scene: Scene):
    answering = Answers(scene, "myk8s-worker")
    evaluator = scene.whole("myk8s-worker", Family.IPV4)
    for source in SOURCES * 2:
        for place, port in PLACES:
            line = json.dumps({"from": source, "to": place, "port": port}).encode()
            packet = packet_of(parse_address(source), parse_address(place), port, Protocol.TCP, evaluator)
            answer, good = answering.answer(1, line)
            assert good
            assert answer == msgspec.json.encode(fate_json(evaluator.evaluate(packet)))


def test_the_node_is_the_lines_or_the_one_that_was_named_or_the_one_that_is_called(scene: Scene):
    packet = {"from": "203.0.113.9", "to": "172.18.0.5", "port": 31303}
    assert ask(scene, packet)[0]["action"] == "DNAT"
    assert ask(scene, packet, "myk8s-control-plane")[0]["action"] == "NONE"
    assert ask(scene, packet | {"node": "myk8s-worker"}, "myk8s-control-plane")[0]["action"] == "DNAT"


def test_names_serve_as_addresses_do(scene: Scene):
    answer, good = ask(scene, {"from": "mypc", "to": "myk8s-worker", "port": 31303, "protocol": "TCP"})
    assert good
    assert [backend["address"] for backend in answer["backends"]] == ["10.10.1.3"]


def test_who_sends_follows_from_the_source_unless_it_is_told(scene: Scene):
    packet = {"from": "172.18.0.5", "to": "172.18.0.5", "port": 31303}
    assert len(ask(scene, packet)[0]["backends"]) == 3
    assert len(ask(scene, packet | {"from": "9.9.9.9"})[0]["backends"]) == 1
    assert len(ask(scene, packet | {"from": "9.9.9.9", "fromNode": True})[0]["backends"]) == 3


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "it is no JSON object of a packet: Input data was truncated"),
        ("[]", "Expected object, got array"),
        ({"to": "10.0.0.1", "port": 1}, "Object missing required field from"),
        ({"from": "10.0.0.1", "to": "10.0.0.2", "port": "80"}, "port: Expected int, got str"),
        ({"from": "10.0.0.1", "to": "10.0.0.2", "port": 0}, "port: there is no port 0; ports are from 1 to 65535"),
        ({"from": "10.0.0.1", "to": "10.0.0.2", "port": 70000}, "port: there is no port 70000"),
        ({"from": "10.0.0.1", "to": "10.0.0.2", "port": 1, "protocol": "icmp"}, "protocol: 'icmp' is none"),
        ({"from": "10.0.0.300", "to": "10.0.0.2", "port": 1}, "from 10.0.0.300: nobody has that name"),
        (
            {"from": "10.0.0.1", "to": "10.0.0.300", "port": 1},
            "to: 10.0.0.300:1: '10.0.0.300' is an address of no family",
        ),
        (
            {"from": "fd00::1", "to": "10.0.0.2", "port": 1},
            "from: fd00::1 and the destination are of different families",
        ),
        ({"from": "9.9.9.9", "to": "9.9.9.8", "port": 1}, 'it does not follow which node it enters; say "node" here'),
        ({"from": "9.9.9.9", "to": "9.9.9.8", "port": 1, "node": "nope"}, "there is no Node nope"),
    ],
)
def test_a_line_that_is_no_packet_is_answered_with_its_number_and_what_is_wrong(
    scene: Scene, line: dict[str, Any] | str, error: str
):
    answer, good = ask(scene, line)
    assert not good
    assert answer["line"] == 7
    assert answer["error"].startswith(f"line 7: {error}")


def test_each_line_has_its_answer_in_order_and_blank_ones_none(scene: Scene):
    packet = json.dumps({"from": "mypc", "to": "myk8s-worker", "port": 31303}).encode()
    found = list(answers([packet, b"\n", b"nothing\n", packet], scene))
    assert [good for _, good in found] == [True, False, True]
    assert json.loads(found[1][0])["line"] == 3
