"""What `iptables -v -S` prints is read back rule by rule, with counters."""

from fairway.cluster.walk.rules import matched, parse_rules

SVC = "-A KUBE-SVC-VTR7MTHHNMFZ3OFS -m comment --comment"
LISTING = f"""\
-P PREROUTING ACCEPT -c 3 180
-N KUBE-SVC-VTR7MTHHNMFZ3OFS
-A PREROUTING -m comment --comment "kubernetes service portals" -c 7 420 -j KUBE-SERVICES
{SVC} "a -> b" -m statistic --mode random --probability 0.33333333349 -c 1 60 -j KUBE-SEP-XEXGJWEWSC2GPNPZ
{SVC} "a -> c" -c 2 120 -j KUBE-SEP-C5MCUQGLTHD455UI
-A KUBE-FW-X -m comment --comment "no target"
"""


def test_rules_keep_their_order_target_and_packets() -> None:
    assert [(rule.chain, rule.target, rule.packets) for rule in parse_rules(LISTING)] == [
        ("PREROUTING", "KUBE-SERVICES", 7),
        ("KUBE-SVC-VTR7MTHHNMFZ3OFS", "KUBE-SEP-XEXGJWEWSC2GPNPZ", 1),
        ("KUBE-SVC-VTR7MTHHNMFZ3OFS", "KUBE-SEP-C5MCUQGLTHD455UI", 2),
        ("KUBE-FW-X", None, 0),
    ]


def test_an_option_is_the_word_after_its_name() -> None:
    rules = parse_rules(LISTING)
    assert [rule.option("--probability") for rule in rules[1:3]] == ["0.33333333349", None]
    assert rules[0].option("--comment") == "kubernetes service portals"


def test_matched_counts_only_the_step_that_is_asked_for() -> None:
    rules = parse_rules(LISTING)
    assert matched(rules, "PREROUTING", "KUBE-SERVICES") == 7
    assert matched(rules, "PREROUTING", "KUBE-NODEPORTS") == 0
