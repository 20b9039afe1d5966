"""What nft lists and what the kernel traces are read as they are printed."""

from fairway.cluster.walk.nftables import Step, Table, parse_table, parse_trace

LISTING = """table ip fairway {
\tcomment "Kubernetes Services, written by fairway"
\tmap nodeports {
\t\ttypeof meta l4proto . th dport : meta priority
\t\tcomment "node port : its class"
\t\telements = { tcp . 30961 : 22:3,
\t\t\t     udp . 30961 : 21:1 }
\t}

\tset nodeport-ips {
\t\ttypeof ip daddr
\t\telements = { 172.18.0.3 }
\t}

\tmap sticky {
\t\ttypeof ip daddr . meta l4proto . th dport : verdict
\t}

\tchain nat-prerouting {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tjump services
\t}

\tchain empty {
\t}
}
"""

TOLD = """172.18.0.100:41003 -> 172.18.0.3:30961
  nat-prerouting          jump services
  services                goto dispatch                 ip daddr @nodeport-ips goto dispatch
172.18.0.100:41003 -> 10.10.1.3:8080
  masquerading            accept                        masquerade fully-random
"""


def test_sets_have_elements_and_chains_rules() -> None:
    assert parse_table(LISTING) == Table(
        sets={
            "nodeports": ["tcp . 30961 : 22:3", "udp . 30961 : 21:1"],
            "nodeport-ips": ["172.18.0.3"],
            "sticky": [],
        },
        chains={"nat-prerouting": ["jump services"], "empty": []},
    )


def test_a_map_is_asked_by_key() -> None:
    table = parse_table(LISTING)
    assert table.value("nodeports", "tcp . 30961") == "22:3"
    assert table.value("nodeports", "tcp . 30962") is None
    assert table.value("no-such-map", "tcp . 30961") is None


def test_no_table_is_an_empty_one() -> None:
    assert parse_table("") == Table()


def test_each_step_knows_its_packet_and_its_rule() -> None:
    there, on = "172.18.0.100:41003 -> 172.18.0.3:30961", "172.18.0.100:41003 -> 10.10.1.3:8080"
    assert parse_trace(TOLD) == [
        Step(packet=there, chain="nat-prerouting", verdict="jump services", rule="jump services"),
        Step(packet=there, chain="services", verdict="goto dispatch", rule="ip daddr @nodeport-ips goto dispatch"),
        Step(packet=on, chain="masquerading", verdict="accept", rule="masquerade fully-random"),
    ]
