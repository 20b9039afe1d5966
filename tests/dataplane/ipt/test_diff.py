"""What is sent for what is there, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import pytest
from msgspec.structs import replace

from fairway.dataplane.ipt import text
from fairway.dataplane.ipt.diff import Batch, Line, cleanup, diff
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.parse import Lines, parse_save
from fairway.dataplane.ipt.ruleset import Rule, Table
from fairway.dataplane.ipt.text import ChainTexts, format_rule, format_save
from fairway.plan.model import DoorKind
from tests.dataplane.ipt.build import HASH, NAME, door, plan, port
from tests.dataplane.ipt.golden import SCENARIOS, Recorded
from tests.dataplane.ipt.kernel import apply

RULESET = lower(plan(port(door(DoorKind.CLUSTER_IP), door(DoorKind.NODE_PORT))))
EMPTY = lower(plan())
TABLES = tuple(Table)


def saved(ruleset: object = RULESET) -> Lines:
    return parse_save(format_save(ruleset, TABLES))


def with_chain(lines: Lines, table: Table, chain: str, rules: tuple[str, ...] | None) -> Lines:
    """`lines`, but for one chain; None takes it away."""
    chains = dict(lines[table])
    if rules is None:
        del chains[chain]
    else:
        chains[chain] = rules
    return {**lines, table: chains}


def filled(lines: Lines) -> Mapping[Table, Mapping[str, tuple[str, ...]]]:
    """Without builtin chains that hold nothing, which an observation may or may not name."""
    return {
        table: {chain: rules for chain, rules in chains.items() if rules or chain.startswith("KUBE-")}
        for table, chains in lines.items()
    }


def test_nothing_is_sent_where_nothing_differs() -> None:
    assert not diff(saved(), RULESET)
    assert diff(saved(), RULESET).text == ""


def test_everything_is_sent_to_an_empty_kernel_and_jumps_stand_in_kube_proxys_order() -> None:
    assert filled(apply({}, diff({}, RULESET))) == filled(saved())


@pytest.mark.parametrize("before", SCENARIOS)
@pytest.mark.parametrize("after", SCENARIOS)
def test_one_batch_leads_from_any_scenario_to_any_other(before: str, after: str) -> None:
    one, other = (lower(Recorded(name, "myk8s-worker").plan()) for name in (before, after))
    assert filled(apply(saved(one), diff(saved(one), other))) == filled(saved(other))


def test_a_missing_jump_alone_is_put_first_in_its_chain() -> None:
    observed = with_chain(saved(), Table.NAT, "OUTPUT", ("-j CILIUM_OUTPUT_nat",))
    assert diff(observed, RULESET).text == (
        '*nat\n-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\nCOMMIT\n'
    )


def test_a_jump_that_stands_anywhere_is_left_there() -> None:
    output = saved()[Table.NAT]["OUTPUT"]
    observed = with_chain(saved(), Table.NAT, "OUTPUT", ("-j CILIUM_OUTPUT_nat", *output, "-j LOG"))
    assert not diff(observed, RULESET)


def test_another_versions_spelling_is_no_difference() -> None:
    """The order of matches, a bare -m tcp, a probability with fewer digits, a mark without its mask."""
    chain = f"KUBE-SVC-{HASH}"
    spelled = tuple(
        rule.replace("--probability 0.50000000000", "--probability 0.5").replace(
            '-m comment --comment "default/web:http -> 10.10.1.2:8080" -m statistic --mode random --probability 0.5',
            '-m statistic --mode random --probability 0.5 -m comment --comment "default/web:http -> 10.10.1.2:8080"',
        )
        for rule in saved()[Table.NAT][chain]
    )
    assert spelled != saved()[Table.NAT][chain]
    assert not diff(with_chain(saved(), Table.NAT, chain, spelled), RULESET)
    endpoint = next(name for name in saved()[Table.NAT] if name.startswith("KUBE-SEP-"))
    without = tuple(rule.replace(" -m tcp -j", " -j") for rule in saved()[Table.NAT][endpoint])
    assert without != saved()[Table.NAT][endpoint]
    assert not diff(with_chain(saved(), Table.NAT, endpoint, without), RULESET)


@pytest.mark.parametrize("change", ["more", "less", "other", "gone"])
def test_a_chain_that_differs_is_the_only_one_written(change: str) -> None:
    chain = f"KUBE-EXT-{HASH}"
    rules = saved()[Table.NAT][chain]
    changed = {"more": (*rules, "-j ACCEPT"), "less": (), "other": ("-i eth0 -j ACCEPT",), "gone": None}[change]
    observed = with_chain(saved(), Table.NAT, chain, changed)
    assert diff(observed, RULESET).text.splitlines() == [
        "*nat",
        f":{chain} - [0:0]",
        *(f"-A {chain} {rule}" for rule in rules),
        "COMMIT",
    ]


def test_the_chains_of_a_gone_service_are_removed_and_strangers_are_not() -> None:
    strangers = {"KUBE-ROUTER-INPUT": ("-j ACCEPT",), "CNI-HOSTPORT": (), "KUBE-SVC": ()}
    observed = {**saved(), Table.NAT: {**saved()[Table.NAT], **strangers}}
    batch = diff(observed, EMPTY)
    stale = sorted(chain for chain in saved()[Table.NAT] if HASH in chain or chain.startswith("KUBE-SEP-"))
    assert [line.text for line in batch.lines if line.text.startswith("-X")] == [f"-X {chain}" for chain in stale]
    assert not [line.text for line in batch.lines for name in strangers if f"{name} " in f"{line.text} "]


def test_a_chain_of_a_service_in_another_table_is_not_ours() -> None:
    observed = with_chain(saved(), Table.FILTER, "KUBE-SVC-AAAAAAAAAAAAAAAA", ("-j ACCEPT",))
    assert not diff(observed, RULESET)


def test_a_stale_chain_that_a_stranger_leads_to_is_emptied_only() -> None:
    chain = f"KUBE-SVC-{HASH}"
    observed = with_chain(saved(), Table.NAT, "INPUT", (f"-i eth0 -j {chain}",))
    texts = [line.text for line in diff(observed, EMPTY).lines]
    assert f":{chain} - [0:0]" in texts
    assert f"-X {chain}" not in texts
    assert f"-X KUBE-EXT-{HASH}" in texts
    # Once it is empty nothing is left to do.
    assert not diff(apply(observed, diff(observed, EMPTY)), EMPTY)


def test_the_firewall_chain_is_shared_and_keeps_the_kubelets_rules() -> None:
    own = saved()[Table.FILTER]["KUBE-FIREWALL"]
    kubelets = "-m mark --mark 0x8000/0x8000 -j DROP"
    assert not diff(with_chain(saved(), Table.FILTER, "KUBE-FIREWALL", (kubelets, *own)), RULESET)
    assert diff(with_chain(saved(), Table.FILTER, "KUBE-FIREWALL", (kubelets,)), RULESET).text == (
        f"*filter\n-A KUBE-FIREWALL {own[0]}\nCOMMIT\n"
    )


def test_each_line_that_adds_a_rule_carries_it() -> None:
    batch = diff({}, RULESET)
    for number, line in enumerate(batch.lines, start=1):
        assert (batch.rule_at(number) is not None) is line.text.startswith(("-A", "-I"))
    assert batch.rule_at(0) is None
    assert batch.rule_at(len(batch.lines) + 1) is None


def test_the_table_of_a_line_is_that_of_the_last_star_before_it() -> None:
    batch = Batch((Line("*filter"), Line("COMMIT"), Line("*nat"), Line("COMMIT")))
    assert [batch.table_at(number) for number in (0, 1, 2, 3, 4, 5)] == ["", "filter", "filter", "nat", "nat", "nat"]


def test_cleanup_leaves_what_was_there_before() -> None:
    before: Lines = {Table.NAT: {"OUTPUT": ("-j X", "-j Y"), "X": ("-j ACCEPT",), "Y": ()}}
    during = apply(before, diff(before, RULESET))
    assert filled(apply(during, cleanup(during))) == {**filled(before), Table.FILTER: {}}


def test_cleanup_of_nothing_sends_nothing() -> None:
    assert not cleanup({})
    assert not cleanup({Table.NAT: {"OUTPUT": ("-j X",), "X": ()}})


def test_cleanup_removes_a_jump_as_often_as_it_stands() -> None:
    jump = saved()[Table.NAT]["OUTPUT"]
    observed = with_chain(saved(), Table.NAT, "OUTPUT", (*jump, "-j X", *jump))
    assert apply(observed, cleanup(observed))[Table.NAT]["OUTPUT"] == ("-j X",)


@pytest.mark.parametrize("left", ["KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"])
def test_cleanup_leaves_the_firewall_to_a_kubelet(left: str) -> None:
    observed = with_chain(saved(), Table.MANGLE, left, ())
    after = apply(observed, cleanup(observed))
    assert after[Table.FILTER]["KUBE-FIREWALL"] == saved()[Table.FILTER]["KUBE-FIREWALL"]
    assert after[Table.FILTER]["INPUT"] == after[Table.FILTER]["OUTPUT"] == ("-j KUBE-FIREWALL",)
    assert left in after[Table.MANGLE]


def test_cleanup_leaves_a_firewall_chain_that_holds_more_than_our_rule() -> None:
    own = saved()[Table.FILTER]["KUBE-FIREWALL"]
    observed = with_chain(saved(), Table.FILTER, "KUBE-FIREWALL", (*own, "-i eth0 -j DROP"))
    assert apply(observed, cleanup(observed))[Table.FILTER]["KUBE-FIREWALL"] == (*own, "-i eth0 -j DROP")


def test_cleanup_empties_a_chain_that_a_stranger_leads_to() -> None:
    observed = with_chain(saved(), Table.NAT, "INPUT", ("-i eth0 -j KUBE-SERVICES",))
    after = apply(observed, cleanup(observed))[Table.NAT]
    assert (after["INPUT"], after["KUBE-SERVICES"]) == (("-i eth0 -j KUBE-SERVICES",), ())
    assert "KUBE-MARK-MASQ" not in after


def test_texts_are_made_once_for_the_same_rules_and_forgotten_with_them(formatted: list[Rule]) -> None:
    chain = f"KUBE-SVC-{HASH}"
    texts, rules = ChainTexts(), RULESET.chains[Table.NAT][chain]
    first = texts.of(Table.NAT, chain, rules)
    texts.forget_others()
    assert texts.of(Table.NAT, chain, rules) is first
    assert formatted == list(rules)
    texts.forget_others()
    texts.forget_others()
    assert texts.of(Table.NAT, chain, rules) == first
    assert formatted == [*rules, *rules]


def test_of_a_chain_that_changed_only_new_rules_get_their_text_made(formatted: list[Rule]) -> None:
    texts, chain = ChainTexts(), f"KUBE-SVC-{HASH}"
    one, two, *rest = RULESET.chains[Table.NAT][chain]
    first = texts.of(Table.NAT, chain, (one, two, *rest))
    texts.forget_others()
    formatted.clear()
    new = copy(two)
    assert texts.of(Table.NAT, chain, (new, one)) == (first[1], first[0])
    assert [rule is new for rule in formatted] == [True]


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> list[Rule]:
    """Of ChainTexts: the rules whose text it made."""
    rules: list[Rule] = []

    def recorded(rule: Rule) -> str:
        rules.append(rule)
        return format_rule(rule)

    monkeypatch.setattr(text, "format_rule", recorded)
    return rules


def test_remembered_texts_give_the_same_batch() -> None:
    texts = ChainTexts()
    other = lower(plan(port(door(DoorKind.CLUSTER_IP), name=replace(NAME, service="other"))))
    for observed, desired in (({}, RULESET), (saved(), RULESET), (saved(), other), (saved(other), RULESET)):
        assert diff(observed, desired, texts) == diff(observed, desired)
