"""Rules, elements and tables are written as nft 1.0.6 lists them; tests/kernel/test_nft_kernel.py asks nft itself."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from fairway.base.addresses import Family
from fairway.dataplane.nft import chains, layout
from fairway.dataplane.nft.chains import (
    drop_rule,
    endpoint_rules,
    in_network,
    one_in_rule,
    remembered_rule,
)
from fairway.dataplane.nft.layout import DoorClass, Policy, affinity_set, fixed_sets
from fairway.dataplane.nft.phrase import format_comment, format_rule
from fairway.dataplane.nft.ruleset import BaseHook, Chain, Rule, Ruleset, SetSpec
from fairway.dataplane.nft.text import canonical, format_set, format_table, format_timeout
from fairway.dataplane.nft.words import format_element
from fairway.flow.packet import Protocol
from fairway.netlink.elements import Value
from fairway.netlink.expressions import (
    DROP,
    Bitwise,
    Cmp,
    CmpOp,
    Code,
    Counter,
    Dnat,
    Expression,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Reject,
    Unknown,
    Update,
    Verdict,
    goto,
    jump,
)
from fairway.netlink.nftables import Hook
from fairway.plan.model import Backend
from tests.dataplane.nft.build import ruleset_of, scenarios

IPV4, IPV6 = Family.IPV4, Family.IPV6
SETS = {**fixed_sets(IPV4), "clients": affinity_set(IPV4, "clients", 10800)}
SETS6 = {**fixed_sets(IPV6), "clients": affinity_set(IPV6, "clients", 10800)}
DROPS = (ImmediateVerdict(DROP),)
PORT_WORDS = "meta l4proto . th dport"
DOOR_WORDS = f"ip daddr . {PORT_WORDS}"
DNAT_WORDS = "meta priority set none dnat ip to"
MARK_WORDS = "meta mark set meta mark | 0x00004000"


def of_chain(scenario: str, chain: str) -> list[str]:
    ruleset = ruleset_of(scenarios()[scenario])
    return [format_rule(rule, ruleset.family, ruleset.sets) for rule in ruleset.chains[chain].rules]


@pytest.mark.parametrize(
    ("scenario", "chain", "lines"),
    [
        ("nothing", "dispatch", ["meta priority vmap @classes"]),
        ("nothing", "sticky", ["ip daddr . meta l4proto . th dport vmap @sticky"]),
        ("nothing", "refuse", ["reject"]),
        ("nothing", "nat-output", ["jump services"]),
        (
            "nothing",
            "short-cut",
            [
                "meta priority set ip daddr . meta l4proto . th dport map @short-cuts",
                "meta priority vmap @short-cut-classes",
            ],
        ),
        (
            "nothing",
            "masquerading",
            [
                "meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random",
                "ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpins masquerade fully-random",
            ],
        ),
        (
            "IPv6 everywhere",
            "services",
            [
                "meta priority set ip6 daddr . meta l4proto . th dport map @services goto dispatch",
                f"fib daddr type local ip6 daddr != ::1 meta priority set {PORT_WORDS} map @nodeports goto dispatch",
                'ip6 daddr @cluster-ips fib daddr type != local reject comment "ports that no Service has"',
                'ip6 daddr fd00:200::/112 fib daddr type != local drop comment "addresses that no Service has"',
            ],
        ),
        (
            "local and guarded",
            "guarded-local-1",
            [
                "ip daddr . meta l4proto . th dport . ip saddr != @source-ranges drop",
                "ip saddr 10.10.0.0/16 goto short-cut",
                "fib saddr type local meta mark set meta mark | 0x00004000 goto short-cut",
                f"{DNAT_WORDS} {DOOR_WORDS} . numgen random mod 1 map @backends",
            ],
        ),
        (
            "local",
            "nodeport-short-cut-2",
            [f"{DNAT_WORDS} {PORT_WORDS} . numgen random mod 2 offset 65536 map @nodeport-backends"],
        ),
        (
            "pods by their bridge",
            "masquerade-outside-2",
            [
                f'iifname != "cni0" {MARK_WORDS}',
                f"{DNAT_WORDS} {DOOR_WORDS} . numgen random mod 2 map @backends",
            ],
        ),
        (
            "IPv6, pods by their links",
            "local-1",
            [
                'iifname "a-prefix_of.14*" goto short-cut',
                "fib saddr type local meta mark set meta mark | 0x00004000 goto short-cut",
                f"{DNAT_WORDS.replace(' ip ', ' ip6 ')} ip6 daddr . {PORT_WORDS} . numgen random mod 1 map @backends",
            ],
        ),
        (
            "odd networks",
            "masquerade-outside-2",
            [
                f"ip saddr != 10.10.0.0/15 ip saddr != 0.0.0.0/0 ip saddr != 10.10.1.0/24 {MARK_WORDS}",
                f"{DNAT_WORDS} {DOOR_WORDS} . numgen random mod 2 map @backends",
            ],
        ),
    ],
)
def test_the_rules_of_a_node_read_as_in_nft(scenario: str, chain: str, lines: list[str]) -> None:
    assert of_chain(scenario, chain) == lines


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (remembered_rule(IPV4, "clients", "x"), "ip saddr @clients goto x"),
        (one_in_rule(3, "x"), "numgen random mod 3 0 goto x"),
        (one_in_rule(1, "x"), "goto x"),
        (drop_rule(), "drop"),
        (endpoint_rules(IPV4, 6, ip_address("10.1.1.1"), 80, "clients")[0], "update @clients { ip saddr }"),
        (
            endpoint_rules(IPV4, 132, ip_address("10.1.1.1"), 80, "clients")[1],
            "meta priority set none meta l4proto sctp dnat to 10.1.1.1:80",
        ),
        (Rule((*in_network(ip_network("10.0.0.1/32"), source=True), *DROPS)), "ip saddr 10.0.0.1 drop"),
        (Rule((*in_network(ip_network("10.0.0.0/9"), source=False), *DROPS)), "ip daddr 10.0.0.0/9 drop"),
        (Rule((Counter(), ImmediateVerdict(jump("x")))), "counter packets 0 bytes 0 jump x"),
        (Rule((ImmediateVerdict(Verdict(Code.RETURN)),), comment="why"), 'return comment "why"'),
        (
            Rule((Payload(PayloadBase.NETWORK, 12, 4), Lookup("cluster-ips", inverted=True), *DROPS)),
            "ip saddr != @cluster-ips drop",
        ),
        (
            Rule((Meta(MetaKey.PRIORITY), Cmp(CmpOp.EQ, DoorClass(Policy.KEEP, 3).packed), Masquerade())),
            "meta priority 1:3 masquerade fully-random",
        ),
        (
            Rule((Meta(MetaKey.MARK), Bitwise(b"\0@\0\0", bytes(4)), MetaSet(MetaKey.MARK))),
            "meta mark set meta mark & 0x00004000",
        ),
        (Rule((Payload(PayloadBase.TRANSPORT, 2, 2), Cmp(CmpOp.NEQ, b"\0\x50"), *DROPS)), "th dport != 80 drop"),
        (Rule((Numgen(3), Cmp(CmpOp.NEQ, b"\1\0\0\0"), *DROPS)), "numgen random mod 3 != 1 drop"),
    ],
)
def test_a_rule_reads_as_in_nft(rule: Rule, text: str) -> None:
    """Numbers of the machine's own order are little-endian ones, as on every machine this is tested on."""
    assert format_rule(rule, IPV4, SETS) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            endpoint_rules(IPV6, 6, ip_address("fd00::2"), 80, "clients")[1],
            "meta priority set none meta l4proto tcp dnat to [fd00::2]:80",
        ),
        (
            endpoint_rules(IPV6, 6, ip_address("::ffff:1.2.3.4"), 80, "clients")[1],
            "meta priority set none meta l4proto tcp dnat to [::ffff:1.2.3.4]:80",
        ),
        (
            chains.choose(IPV6, DoorClass(Policy.KEEP, 3)),
            f"meta priority set none dnat ip6 to ip6 daddr . {PORT_WORDS} . numgen random mod 3 map @backends",
        ),
        (Rule((*in_network(ip_network("fd00::/9"), source=True), *DROPS)), "ip6 saddr fd00::/9 drop"),
        (Rule((Reject(4),)), "reject"),
    ],
)
def test_a_rule_of_ipv6_reads_as_in_nft(rule: Rule, text: str) -> None:
    assert format_rule(rule, IPV6, SETS6) == text


SADDR = Payload(PayloadBase.NETWORK, 12, 4)


@pytest.mark.parametrize(
    "expressions",
    [
        (Unknown("limit", b""),),
        (Reject(2),),
        (Cmp(CmpOp.EQ, b"\1"),),
        (Payload(PayloadBase.NETWORK, 13, 4), Cmp(CmpOp.EQ, bytes(4))),
        (Payload(PayloadBase.NETWORK, 12, 5), Cmp(CmpOp.EQ, bytes(5))),
        (Payload(PayloadBase.TRANSPORT, 2, 1), Cmp(CmpOp.EQ, bytes(1))),
        (SADDR, Cmp(CmpOp.EQ, bytes(3))),
        (SADDR, Bitwise(b"\xff\0\xff\0", bytes(4)), Cmp(CmpOp.EQ, bytes(4))),
        (SADDR, Bitwise(b"\xff\0\0\0", b"\1\0\0\0"), Cmp(CmpOp.EQ, bytes(4))),
        (SADDR, Bitwise(b"\xff\0\0\0", bytes(4)), Lookup("cluster-ips")),
        (Payload(PayloadBase.NETWORK, 12, 3), Lookup("cluster-ips")),
        (SADDR, Lookup("no-such-set")),
        (SADDR, Lookup("services")),
        (SADDR, Lookup("cluster-ips", dreg=1)),
        (Meta(MetaKey.L4PROTO), Lookup("cluster-ips")),
        (Meta(MetaKey.L4PROTO), Cmp(CmpOp.EQ, b"\1")),
        (Meta(MetaKey.MARK), Bitwise(b"\xff\0\0\0", b"\xff\0\0\0"), MetaSet(MetaKey.MARK)),
        (Meta(MetaKey.PRIORITY), Lookup("classes", dreg=1)),
        (Meta(MetaKey.PRIORITY), Lookup("classes", dreg=0, inverted=True)),
        (MetaSet(MetaKey.PRIORITY),),
        (Immediate(bytes(4)), Update("clients")),
        (Immediate(bytes(4)), Dnat(2, 1, 2)),
        (Immediate(bytes(4)), Immediate(bytes(4), 2), Dnat(2, 1, 2)),
        (Immediate(bytes(16)), Immediate(bytes(2), 2), Dnat(10, 1, 2)),
        (SADDR, Dnat(2, 1, 2)),
        (ImmediateVerdict(goto("")),),
        (ImmediateVerdict(Verdict(Code.DROP, "x")),),
    ],
    ids=str,
)
def test_a_rule_that_is_none_of_ours_has_no_words(expressions: tuple[Expression, ...]) -> None:
    with pytest.raises(ValueError):
        format_rule(Rule(expressions), IPV4, SETS)


def test_a_register_that_was_written_over_is_no_longer_what_it_was() -> None:
    """Register 1 is the four words from 8 to 11."""
    whole = (Payload(PayloadBase.NETWORK, 8, 16), Meta(MetaKey.MARK, dreg=9), MetaSet(MetaKey.PRIORITY, sreg=9))
    assert format_rule(Rule(whole), IPV6, SETS6) == "meta priority set meta mark"


ADDRESS = ip_address("10.200.1.1")
DOOR_TEXT = "10.200.1.1 . tcp . 443"
DOOR = layout.door_key(ADDRESS, Protocol.TCP, 443)
BACKEND = layout.endpoint_value(Backend(host="10.10.1.2", port=8080))
RANGES = DOOR + ip_address("10.0.0.0").packed


@pytest.mark.parametrize(
    ("name", "key", "value", "text"),
    [
        ("services", DOOR, DoorClass(Policy.MASQUERADE_OUTSIDE, 10).packed, "10.200.1.1 . tcp . 443 : 3:a"),
        ("services", DOOR, bytes(4), "10.200.1.1 . tcp . 443 : none"),
        ("services", DOOR, b"\xff" * 4, "10.200.1.1 . tcp . 443 : root"),
        ("backends", DOOR + layout.slot_key(65537), BACKEND, "10.200.1.1 . tcp . 443 . 65537 : 10.10.1.2 . 8080"),
        ("classes", DoorClass(Policy.KEEP, 65535).packed, goto("keep-65535"), "1:ffff : goto keep-65535"),
        ("classes", DoorClass(Policy.FIXED, 2).packed, DROP, "0:2 : drop"),
        ("cluster-ips", ADDRESS.packed, None, "10.200.1.1"),
        ("source-ranges", RANGES, DOOR + ip_address("10.255.255.255").packed, "10.200.1.1 . tcp . 443 . 10.0.0.0/8"),
        ("source-ranges", RANGES, RANGES, "10.200.1.1 . tcp . 443 . 10.0.0.0"),
        ("source-ranges", RANGES, DOOR + b"\x0a\0\0\2", "10.200.1.1 . tcp . 443 . 10.0.0.0-10.0.0.2"),
        ("source-ranges", DOOR + bytes(4), DOOR + b"\xff" * 4, "10.200.1.1 . tcp . 443 . 0.0.0.0/0"),
        ("source-ranges", DOOR + b"\1\0\0\0", DOOR + b"\2\xff\xff\xff", f"{DOOR_TEXT} . 1.0.0.0-2.255.255.255"),
    ],
)
def test_an_element_reads_as_in_nft(name: str, key: bytes, value: Value, text: str) -> None:
    assert format_element(SETS[name], key, value) == text


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("cluster-ips", b"\1\2\3", None),
        ("cluster-ips", bytes(4), bytes(4)),
        ("services", DOOR, None),
        ("services", DOOR, DROP),
        ("services", DOOR, bytes(3)),
        ("services", ADDRESS.packed + bytes((99, 0, 0, 0)) + bytes(4), bytes(4)),
        ("classes", bytes(4), bytes(4)),
        ("classes", bytes(4), Verdict(Code.GOTO)),
        ("source-ranges", RANGES, None),
        ("source-ranges", RANGES, DOOR + bytes(4)),
    ],
)
def test_an_element_of_another_make_has_no_words(name: str, key: bytes, value: Value) -> None:
    with pytest.raises(ValueError):
        format_element(SETS[name], key, value)


def test_elements_stand_in_the_order_nft_gives_them() -> None:
    """Addresses by number; concatenations as one number of this machine's, so by their last byte first."""
    addresses = {bytes((10, 0, last, 255 - last)): None for last in (3, 0, 255, 1)}
    assert format_set(SETS["cluster-ips"], addresses)[-1] == (
        "elements = { 10.0.0.255, 10.0.1.254,\n\t\t\t     10.0.3.252, 10.0.255.0 }"
    )
    ports = (443, 80, 256, 9000)
    doors: dict[bytes, Value] = {layout.port_key(Protocol.TCP, port): bytes(4) for port in ports}
    assert re.findall(r"tcp . (\d+)", format_set(SETS["nodeports"], doors)[-1]) == ["256", "9000", "80", "443"]


def test_five_classes_share_a_line() -> None:
    classes: dict[bytes, Value] = {DoorClass(1, count).packed: DROP for count in range(6)}
    assert format_set(SETS["classes"], classes)[-1] == (
        "elements = { 1:0 : drop, 1:1 : drop, 1:2 : drop, 1:3 : drop, 1:4 : drop,\n\t\t\t     1:5 : drop }"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (90, "1m30s"), (10800, "3h"), (86400, "1d"), (90061, "1d1h1m1s"), (3601, "1h1s")]
)
def test_a_timeout_reads_as_in_nft(seconds: int, text: str) -> None:
    assert format_timeout(seconds) == text


def test_a_set_that_packets_fill_tells_its_size_and_timeout() -> None:
    assert format_set(SETS["clients"], {}) == ["typeof ip saddr", "size 65535", "flags dynamic,timeout", "timeout 3h"]
    with pytest.raises(ValueError):
        format_set(affinity_set(IPV4, "clients", 0), {})


def table(*made: Chain, sets: tuple[SetSpec, ...] = (), comment: str = "c") -> Ruleset:
    return Ruleset(IPV4, comment, {spec.name: spec for spec in sets}, {chain.name: chain for chain in made}, {})


def test_blocks_are_parted_by_blank_lines() -> None:
    hook = BaseHook(Hook.OUTPUT, -100)
    text = format_table(
        table(Chain("a", (), hook, comment="first"), Chain("b", (drop_rule(),)), sets=(SETS["clients"],))
    )
    assert text == (
        'table ip fairway {\n\tcomment "c"\n'
        "\tset clients {\n\t\ttypeof ip saddr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 3h\n\t}\n\n"
        '\tchain a {\n\t\tcomment "first"\n\t\ttype nat hook output priority -100; policy accept;\n\t}\n\n'
        "\tchain b {\n\t\tdrop\n\t}\n}\n"
    )


@pytest.mark.parametrize("name", ["", "a b", "a;b", 'a"', "a\nb", "1a", "-a", "ä", "a{", "x" * 256])
def test_a_name_nft_could_not_read_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        format_table(table(Chain(name, ())))
    with pytest.raises(ValueError):
        format_table(table(sets=(replace(SETS["clients"], name=name),)))


def test_the_longest_name_is_one() -> None:
    assert f"chain {'x' * 255} {{" in format_table(table(Chain("x" * 255, ())))


@pytest.mark.parametrize("text", ['"', 'a"; drop', "a\nb", "a\x7f", "ü", "x" * 128])
def test_a_comment_that_could_end_its_quotes_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        format_comment(text)
    for ruleset in (
        table(comment=text),
        table(Chain("a", (Rule((), comment=text),))),
        table(Chain("a", (), None, text)),
    ):
        with pytest.raises(ValueError):
            format_table(ruleset)


def test_elements_of_a_set_that_is_not_there_are_no_table() -> None:
    with pytest.raises(ValueError, match="clients"):
        format_table(replace(table(), elements={"clients": {}}))


def test_every_scenario_has_words() -> None:
    for name, whole in scenarios().items():
        text = format_table(ruleset_of(whole))
        assert text.startswith("table ip6" if name.startswith("IPv6") else "table ip ")
        assert canonical(canonical(text)) == canonical(text)


def test_canonical_forgets_the_order_of_sets_chains_and_elements() -> None:
    ruleset = ruleset_of(scenarios()["affinity, local and guarded"])
    backwards = replace(
        ruleset,
        sets=dict(reversed(ruleset.sets.items())),
        chains=dict(reversed(ruleset.chains.items())),
    )
    assert format_table(backwards) != format_table(ruleset)
    assert canonical(format_table(backwards)) == canonical(format_table(ruleset))
    lines = canonical(format_table(ruleset)).splitlines()
    names = [line.split()[1] for line in lines if line.startswith(("\tset", "\tmap"))]
    assert names == sorted(ruleset.sets)


def test_canonical_keeps_every_difference() -> None:
    some = canonical("table ip fairway {\n\tset a {\n\t\telements = { b, c,\n\t\t\t     a }\n\t}\n}\n")
    assert some == "table ip fairway {\n\tset a {\n\t\telements = { a, b,\n\t\t\t     c }\n\t}\n}\n"
    one, other = (canonical(format_table(table(Chain("a", rules)))) for rules in ((), (drop_rule(),)))
    assert one != other
