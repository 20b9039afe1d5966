"""The kernel holds what we say, in both variants of iptables."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from fairway.base.addresses import Family
from fairway.dataplane.ipt.backend import ApplyError, IptablesBackend, Variant
from fairway.dataplane.ipt.frame import NFACCT_COUNTERS, Features
from fairway.dataplane.ipt.generation import read_generation
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.names import KUBE_NODEPORTS, KUBE_SERVICES
from fairway.dataplane.ipt.nfacct import ensure_counters, remove_counters
from fairway.dataplane.ipt.replay import replay
from fairway.dataplane.ipt.ruleset import Jump, Nfacct, Rule, Table, Verdict, comment
from fairway.dataplane.ipt.text import format_save
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin
from fairway.plan.compile import compile_plan
from fairway.plan.model import Links, Plan, PortName
from fairway.plan.options import parse_options
from tests.dataplane.ipt.golden import RECORDED, SCENARIOS, Recorded, normal
from tests.dataplane.ipt.test_diff import filled
from tests.dataplane.nft.build import AFFINITY, LOCAL, NODE6, SLICE6, service6
from tests.kernel.namespaces import in_namespaces
from tests.plan.objects import service

pytestmark = pytest.mark.kernel

VARIANTS = (Variant.NFT, Variant.LEGACY)
NODE = "myk8s-worker"
FOREIGN = """\
*filter
:CNI-FORWARD - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
-A INPUT -p tcp -m comment --comment "an administrator's \\"own\\" rule" -m tcp --dport 22 -j ACCEPT
-A FORWARD -m comment --comment "KUBE-SERVICES by name only" -j CNI-FORWARD
[3:180] -A CNI-FORWARD -s 10.10.0.0/16 -j ACCEPT
-A KUBE-ROUTER-INPUT -i eth0 -p udp -m multiport --dports 53,5353 -j RETURN
COMMIT
*nat
:CNI-HOSTPORT - [0:0]
[3:180] -A POSTROUTING -s 10.10.0.0/16 ! -o cni0 -j MASQUERADE
-A CNI-HOSTPORT -m comment --comment "two\rlines\x0bCOMMIT" -j RETURN
-A CNI-HOSTPORT -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.10.1.9:80
COMMIT
"""
BLOCK_LOCALNET = (
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


def save(variant: Variant, *arguments: str) -> str:
    program = f"iptables-{variant.value}-save"
    return subprocess.run([program, *arguments], check=True, capture_output=True).stdout.decode()


def save6(variant: Variant, *arguments: str) -> str:
    program = f"ip6tables-{variant.value}-save"
    return subprocess.run([program, *arguments], check=True, capture_output=True).stdout.decode()


def restore(variant: Variant, text: str) -> None:
    subprocess.run([f"iptables-{variant.value}-restore", "--noflush"], input=text, check=True, text=True)


def nat_and_filter(variant: Variant) -> str:
    return save(variant, "-t", "nat") + save(variant, "-t", "filter")


def lines_of(text: str) -> list[str]:
    """Chains and rules, policy counters and dates aside."""
    return [line.split(" [")[0] for line in text.split("\n") if line and not line.startswith("#")]


def by_table(text: str) -> dict[str, list[str]]:
    """The same by table; rules keep their counters."""
    tables: dict[str, list[str]] = {}
    for line in lines_of(text):
        if line.startswith("*"):
            tables[line[1:]] = lines = []
        elif line != "COMMIT":
            lines.append(line)
    return tables


def test_the_kernel_holds_the_recorded_rules(variant: Variant) -> None:
    def child() -> dict[str, tuple[bool, bool]]:
        told = {}
        for recorded in RECORDED:
            backend = IptablesBackend(variant)
            backend.sync(recorded.plan())
            same = normal(nat_and_filter(variant)) == normal(recorded.text())
            again = backend.sync(recorded.plan())
            told[str(recorded)] = (same, bool(again))
        return told

    assert in_namespaces(child) == {str(recorded): (True, False) for recorded in RECORDED}


def test_a_fresh_kernel_holds_the_very_text_we_print(variant: Variant) -> None:
    def child() -> tuple[list[str], list[str]]:
        backend = IptablesBackend(variant)
        ruleset = lower(Recorded("nodeport-local", NODE).plan(), backend.features)
        backend.apply(ruleset)
        return lines_of(nat_and_filter(variant)), lines_of(format_save(ruleset, (Table.NAT, Table.FILTER)))

    found, printed = in_namespaces(child)
    assert found == printed


@pytest.mark.parametrize("links", [Links(name="cni0"), Links(name="a-prefix_of.14", is_prefix=True)], ids=str)
def test_links_that_tell_pods_come_back_as_we_print_them(variant: Variant, links: Links) -> None:
    def child() -> tuple[list[str], list[str], bool]:
        backend = IptablesBackend(variant)
        plan = replace(Recorded("nodeport-local", NODE).plan(), cluster_cidrs=(), pod_links=links)
        ruleset = lower(plan, backend.features)
        backend.apply(ruleset)
        again = backend.apply(ruleset)
        return lines_of(nat_and_filter(variant)), lines_of(format_save(ruleset, (Table.NAT, Table.FILTER))), bool(again)

    found, printed, again = in_namespaces(child)
    assert any(" -i " in line for line in printed)
    assert found == printed
    assert not again


def plan_in_ipv6(**flags: Any) -> Plan:
    options = parse_options(**{"family": Family.IPV6, "cluster_cidrs": ["fd00:10::/48"], **flags})
    spec = {**AFFINITY, **LOCAL, "loadBalancerSourceRanges": ["fd00:18::/64", "2001:db8::/32"]}
    return compile_plan([service6(**spec), NO_ENDPOINTS6], [SLICE6], NODE6, options=options)


NO_ENDPOINTS6 = service("none", clusterIP="fd00:200::9")
IN_IPV6 = {
    "pod network": plan_in_ipv6(),
    "chosen addresses": plan_in_ipv6(node_port_addresses=["fd00:18::/64"]),
    "links": plan_in_ipv6(detect_local_mode="BridgeInterface", bridge_interface="cni0"),
    "several pod networks": plan_in_ipv6(cluster_cidrs=["fd00:10::/64,fd00:11::/65"]),
}


@pytest.mark.parametrize("name", IN_IPV6)
def test_ip6tables_holds_the_very_text_we_print_and_is_cleaned_up(variant: Variant, name: str) -> None:
    def child() -> tuple[list[str], list[str], bool, str]:
        backend = IptablesBackend(variant, family=Family.IPV6)
        ruleset = backend.lower(IN_IPV6[name])
        IptablesBackend(variant).sync(Recorded("nodeport-local", NODE).plan())
        backend.apply(ruleset)
        found = [line for table in ("nat", "filter") for line in lines_of(save6(variant, "-t", table))]
        again = bool(backend.apply(ruleset))
        backend.cleanup()
        return found, lines_of(format_save(ruleset, (Table.NAT, Table.FILTER))), again, save6(variant)

    found, printed, again, left = in_namespaces(child)
    assert found == printed
    assert not again
    assert "KUBE" not in left


def test_each_family_leaves_the_others_rules_alone(variant: Variant) -> None:
    def child() -> tuple[bool, bool]:
        both = IptablesBackend(variant), IptablesBackend(variant, family=Family.IPV6)
        both[0].sync(Recorded("nodeport-local", NODE).plan())
        four = lines_of(save(variant))
        both[1].sync(IN_IPV6["links"])
        same_after_apply = lines_of(save(variant)) == four
        both[1].cleanup()
        return same_after_apply, lines_of(save(variant)) == four

    assert in_namespaces(child) == (True, True)


def test_from_any_scenario_to_any_other_equals_the_other_alone(variant: Variant) -> None:
    def child() -> list[str]:
        backend = IptablesBackend(variant)
        alone = {}
        for scenario in SCENARIOS:
            backend.sync(Recorded(scenario, NODE).plan())
            alone[scenario] = normal(nat_and_filter(variant))
            backend.cleanup()
        wrong = []
        for before, after in zip(SCENARIOS, SCENARIOS[1:] + SCENARIOS[:1], strict=True):
            for scenario in (before, after):
                backend.sync(Recorded(scenario, NODE).plan())
            if normal(nat_and_filter(variant)) != alone[after]:
                wrong.append(f"{before} -> {after}")
        return wrong

    assert in_namespaces(child) == []


def test_only_chains_that_differ_are_written_again(variant: Variant) -> None:
    """One endpoint less: the Service's own chain and the endpoint that went, nothing else."""

    def child() -> list[str]:
        backend = IptablesBackend(variant)
        backend.sync(Recorded("nodeport-cluster", NODE).plan())
        batch = backend.sync(Recorded("nodeport-one-unready", NODE).plan())
        return batch.text.splitlines()

    lines = in_namespaces(child)
    assert [line for line in lines if not line.startswith("-A")] == [
        "*nat",
        ":KUBE-SVC-VTR7MTHHNMFZ3OFS - [0:0]",
        ":KUBE-SEP-2AEFSWYPQGZTCWEI - [0:0]",
        "-X KUBE-SEP-2AEFSWYPQGZTCWEI",
        "COMMIT",
    ]
    assert {line.split()[1] for line in lines if line.startswith("-A")} == {"KUBE-SVC-VTR7MTHHNMFZ3OFS"}


def test_counters_of_unchanged_chains_live_on(variant: Variant) -> None:
    def child() -> list[str]:
        backend = IptablesBackend(variant)
        backend.sync(Recorded("nodeport-cluster", NODE).plan())
        counted = "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"
        chain = ":KUBE-MARK-MASQ - [0:0]"
        restore_counters = f"*nat\n{chain}\n[7:420] {counted}\nCOMMIT\n"
        program = f"iptables-{variant.value}-restore"
        subprocess.run([program, "--noflush", "--counters"], input=restore_counters, check=True, text=True)
        backend.sync(Recorded("nodeport-one-unready", NODE).plan())
        return [line for line in save(variant, "-c", "-t", "nat").splitlines() if "KUBE-MARK-MASQ -j MARK" in line]

    assert in_namespaces(child) == ["[7:420] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"]


def test_strangers_rules_and_counters_survive_apply_and_cleanup(variant: Variant) -> None:
    def child() -> list[dict[str, list[str]]]:
        program = f"iptables-{variant.value}-restore"
        subprocess.run([program, "--noflush", "--counters"], input=FOREIGN.encode(), check=True)
        told = [by_table(save(variant, "-c"))]
        backend = IptablesBackend(variant)
        for scenario in SCENARIOS:
            backend.sync(Recorded(scenario, NODE).plan())
        told.append(by_table(save(variant, "-c")))
        backend.cleanup()
        told.append(by_table(save(variant, "-c")))
        return told

    before, during, after = in_namespaces(child)
    assert sum("[3:180]" in line for lines in before.values() for line in lines) == 2
    for table, lines in before.items():
        assert [line for line in during[table] if line in lines] == lines
        assert after[table] == lines
    assert after.keys() - before.keys() <= {"mangle"}
    assert all(line.startswith(":") for line in after.get("mangle", []))


def test_cleanup_leaves_nothing_of_ours(variant: Variant) -> None:
    def child() -> tuple[str, bool]:
        backend = IptablesBackend(variant)
        backend.sync(Recorded("loadbalancer-source-ranges", NODE).plan())
        backend.cleanup()
        return save(variant), bool(backend.cleanup())

    left, again = in_namespaces(child)
    assert "KUBE" not in left
    assert "-A" not in left
    assert not again


def test_cleanup_leaves_the_kubelet_its_firewall(variant: Variant) -> None:
    def child() -> list[str]:
        restore(variant, "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n")
        backend = IptablesBackend(variant)
        backend.sync(Recorded("clusterip", NODE).plan())
        backend.cleanup()
        return [line for line in lines_of(save(variant)) if "KUBE" in line]

    assert sorted(in_namespaces(child)) == [
        "-A INPUT -j KUBE-FIREWALL",
        f"-A KUBE-FIREWALL {BLOCK_LOCALNET}",
        "-A OUTPUT -j KUBE-FIREWALL",
        ":KUBE-FIREWALL -",
        ":KUBE-KUBELET-CANARY -",
    ]


def test_a_strangers_jump_to_a_gone_chain_does_not_stop_the_rest(variant: Variant) -> None:
    """The kernel will not delete a chain that is jumped to, and the whole table's batch would fail with it."""

    def child() -> tuple[bool, list[str]]:
        backend = IptablesBackend(variant)
        backend.sync(Recorded("nodeport-cluster", NODE).plan())
        restore(variant, "*nat\n-A OUTPUT -d 192.0.2.1/32 -j KUBE-SVC-VTR7MTHHNMFZ3OFS\nCOMMIT\n")
        backend.sync(Recorded("clusterip", NODE).plan())
        rules = save(variant, "-t", "nat")
        return bool(backend.sync(Recorded("clusterip", NODE).plan())), [
            line for line in rules.splitlines() if "KUBE-SVC-VTR7MTHHNMFZ3OFS" in line
        ]

    _, left = in_namespaces(child)
    assert left == [
        ":KUBE-SVC-VTR7MTHHNMFZ3OFS - [0:0]",
        "-A OUTPUT -d 192.0.2.1/32 -j KUBE-SVC-VTR7MTHHNMFZ3OFS",
    ]


def test_what_a_stranger_flushed_comes_back(variant: Variant) -> None:
    def child() -> bool:
        backend = IptablesBackend(variant)
        plan = Recorded("nodeport-local", NODE).plan()
        backend.sync(plan)
        wanted = normal(nat_and_filter(variant))
        program = f"iptables-{variant.value}"
        for table in ("nat", "filter"):
            subprocess.run([program, "-t", table, "-F"], check=True)
            subprocess.run([program, "-t", table, "-X"], check=True)
        backend.sync(plan)
        return normal(nat_and_filter(variant)) == wanted

    assert in_namespaces(child)


def test_nf_tables_counts_one_change_for_each_table_that_is_sent() -> None:
    """From any scenario to any other; what the kernel is then taken to hold is what it holds."""

    def child() -> list[str]:
        backend, wrong = IptablesBackend(Variant.NFT), []
        observed = backend.observe()
        for before in SCENARIOS:
            for after in SCENARIOS:
                for scenario in (before, after):
                    ruleset = backend.lower(Recorded(scenario, NODE).plan())
                    generation = read_generation()
                    batch = backend.apply(ruleset)
                    assert generation is not None
                    expected, observed = filled(replay(observed, batch)), backend.observe()
                    if read_generation() != generation + len(batch.tables) or filled(observed) != expected:
                        wrong.append(f"{before} -> {after}")
        return wrong

    assert in_namespaces(child) == []


def test_nothing_is_read_while_only_we_change_anything_and_a_strangers_change_is_seen(
    variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The legacy variant cannot tell, so it reads each time."""
    scenarios = ("nodeport-cluster", "clusterip", "nodeport-affinity", "nodeport-local")

    def child() -> tuple[int, int, bool]:
        backend, reads = IptablesBackend(variant), []
        observe = backend.observe
        monkeypatch.setattr(backend, "observe", lambda: (reads.append(1), observe())[1])
        for scenario in scenarios:
            backend.sync(Recorded(scenario, NODE).plan())
        before = len(reads)
        subprocess.run([f"iptables-{variant.value}", "-t", "nat", "-F", KUBE_SERVICES], check=True)
        plan = Recorded("nodeport-cluster", NODE).plan()
        backend.sync(plan)
        return before, len(reads) - before, bool(IptablesBackend(variant).sync(plan))

    assert in_namespaces(child) == (1 if variant is Variant.NFT else len(scenarios), 1, False)


def test_any_comment_comes_back_as_it_was_sent(variant: Variant) -> None:
    def child() -> bool:
        backend = IptablesBackend(variant)
        sound = lower(Recorded("clusterip", NODE).plan(), backend.features)
        texts = ["", " ", "plain", "it's", '"', "\\", "\\\"'", "$(reboot)`;|&", "-j DROP", "x" * 255]
        texts += [chr(code) for code in range(32, 127)]
        rules = tuple(Rule(matches=(comment(text),), target=Verdict.RETURN) for text in texts)
        chains = {**sound.chains, Table.NAT: {**sound.chains[Table.NAT], KUBE_SERVICES: rules}}
        backend.apply(replace(sound, chains=chains))
        return bool(backend.apply(replace(sound, chains=chains)))

    assert not in_namespaces(child)


def test_counters_of_nfacct_are_made_used_and_removed(variant: Variant) -> None:
    """This kernel has them (CONFIG_NETFILTER_XT_MATCH_NFACCT)."""

    def child() -> tuple[Features, bool, bool, str]:
        backend = IptablesBackend(variant)
        features = backend.features
        again = ensure_counters(NFACCT_COUNTERS)
        backend.sync(Recorded("nodeport-local", NODE).plan())
        remove_counters(NFACCT_COUNTERS)
        rules = save(variant, "-t", "filter")
        still_used = ensure_counters(NFACCT_COUNTERS)
        return features, again, still_used, rules

    features, again, still_used, rules = in_namespaces(child)
    assert features == Features(nfacct=True, drop_invalid=True)
    assert again
    assert still_used
    assert "-m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP" in rules


def test_counters_that_someone_removed_are_made_again_after_the_failure(variant: Variant) -> None:
    def child() -> tuple[bool, bool]:
        backend = IptablesBackend(variant)
        plan = Recorded("clusterip", NODE).plan()
        assert backend.features.nfacct
        remove_counters(NFACCT_COUNTERS)
        try:
            backend.sync(plan)
        except ApplyError:
            return bool(backend.sync(plan)), bool(backend.sync(plan))
        raise AssertionError("a rule with a counter that is not there was accepted")

    assert in_namespaces(child) == (True, False)


def test_auto_follows_the_kubelet(variant: Variant) -> None:
    def child() -> list[str]:
        restore(variant, "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n")
        IptablesBackend().sync(Recorded("clusterip", NODE).plan())
        return [some.value for some in VARIANTS if "KUBE-SERVICES" in save(some)]

    assert in_namespaces(child) == [variant.value]


def test_a_refused_rule_is_named_with_its_service_and_nothing_is_changed(variant: Variant) -> None:
    """The nf_tables variant says which line, the legacy one only which table."""

    def child() -> tuple[str, bool, bool]:
        backend = IptablesBackend(variant)
        sound = lower(Recorded("clusterip", NODE).plan(), backend.features)
        backend.apply(sound)
        before = save(variant, "-t", "nat")
        origin = Origin(kind="Service", namespace="default", name="web", field="spec.type", value="NodePort")
        owner = PortName(namespace="default", service="web", port="http", protocol=Protocol.TCP)
        rule = Rule(matches=(Nfacct("no_such_counter"),), target=Jump(KUBE_NODEPORTS), origin=origin, owner=owner)
        chains = {**sound.chains, Table.NAT: {**sound.chains[Table.NAT], KUBE_SERVICES: (rule,)}}
        try:
            backend.apply(replace(sound, chains=chains))
        except ApplyError as error:
            return str(error), error.rule == rule, lines_of(save(variant, "-t", "nat")) == lines_of(before)
        return "it was not refused", False, False

    text, names_rule, unchanged = in_namespaces(child)
    assert unchanged
    if variant is Variant.NFT:
        assert names_rule
        assert (
            "iptables-nft-restore refused the rule for Service default/web:http (Service default/web: spec.type="
            in text
        )
    else:
        assert not names_rule
        assert "iptables-legacy-restore refused table nat, not saying which rule" in text
