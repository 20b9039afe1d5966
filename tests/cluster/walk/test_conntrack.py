"""A conntrack entry is two tuples: what the client sends, and what the reply is expected to be."""

from fairway.cluster.walk.conntrack import Tuple, parse_connections

LINE = (
    "tcp      6 118 TIME_WAIT src=172.18.0.100 dst=172.18.0.3 sport=41001 dport=30123 "
    "src=10.10.1.3 dst=172.18.0.3 sport=8080 dport=61437 [ASSURED] mark=0 use=1"
)
PING = "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=3 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=3 mark=0"


def test_both_directions_are_read() -> None:
    (connection,) = parse_connections(f"{LINE}\nconntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n")
    assert connection.original == Tuple(
        source="172.18.0.100", source_port=41001, destination="172.18.0.3", destination_port=30123
    )
    assert connection.reply == Tuple(
        source="10.10.1.3", source_port=8080, destination="172.18.0.3", destination_port=61437
    )
    assert connection.line == LINE


def test_an_entry_of_ipv6_is_read_alike() -> None:
    line = (
        "tcp      6 118 TIME_WAIT src=fd00:172:18::100 dst=fd00:172:18::3 sport=41101 dport=30123 "
        "src=fd00:10:10:1::3 dst=fd00:172:18::3 sport=8080 dport=61437 [ASSURED] mark=0 use=1"
    )
    (connection,) = parse_connections(line)
    assert (connection.original.source, connection.reply.source) == ("fd00:172:18::100", "fd00:10:10:1::3")


def test_what_has_no_ports_is_passed_over() -> None:
    assert parse_connections(PING) == []
