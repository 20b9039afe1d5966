"""The picture holds the addresses and ports of the call, and is as wide as a terminal."""

from dataclasses import replace

from fairway.base.text import columns
from fairway.cluster.walk.conntrack import Connection, Tuple
from fairway.cluster.walk.language import Language
from fairway.cluster.walk.picture import Way, draw


def way(*, pod_node: str) -> Way:
    return Way(
        client="mypc",
        entered="myk8s-control-plane",
        pod="deploy-echo-5c689d5454-m4hd9",
        pod_node=pod_node,
        connection=Connection(
            original=Tuple(source="172.18.0.100", source_port=41002, destination="172.18.0.3", destination_port=30123),
            reply=Tuple(source="10.10.1.3", source_port=8080, destination="172.18.0.3", destination_port=61437),
            line="",
        ),
    )


def test_each_hop_shows_the_packet_as_it_is_there() -> None:
    picture = draw(way(pod_node="myk8s-worker"))
    for text in (
        "172.18.0.100:41002 -> 172.18.0.3:30123",
        "DNAT  172.18.0.3:30123  becomes  10.10.1.3:8080",
        "SNAT  172.18.0.100:41002  becomes  172.18.0.3:61437",
        "172.18.0.3:61437 -> 10.10.1.3:8080",
        "10.10.1.3:8080 -> 172.18.0.3:61437",
        "172.18.0.3:30123 -> 172.18.0.100:41002",
        "myk8s-worker",
    ):
        assert text in picture
    assert max(map(len, picture.splitlines())) <= 80


def test_addresses_of_ipv6_stand_in_brackets() -> None:
    six = Connection(
        original=Tuple(source="fd00::100", source_port=41002, destination="fd00::3", destination_port=30123),
        reply=Tuple(source="fd00:1::3", source_port=8080, destination="fd00::3", destination_port=61437),
        line="",
    )
    picture = draw(replace(way(pod_node="myk8s-worker"), connection=six))
    assert "DNAT  [fd00::3]:30123  becomes  [fd00:1::3]:8080" in picture
    assert "[fd00:1::3]:8080   sees its peer as fd00::3" in picture


def test_a_pod_on_the_node_that_was_entered_needs_no_second_node() -> None:
    picture = draw(way(pod_node="myk8s-control-plane"))
    assert "routes to pod" not in picture
    assert picture.count("172.18.0.3:61437 -> 10.10.1.3:8080") == 1


def test_in_korean_its_boxes_are_as_wide() -> None:
    picture = draw(way(pod_node="myk8s-worker"), Language.KOREAN)
    assert "myk8s-control-plane  (인입 노드)" in picture
    assert "DNAT  172.18.0.3:30123  ->  10.10.1.3:8080" in picture
    assert {columns(line) for line in picture.splitlines() if line[0] in "┌│└"} == {76}
