"""Rules on a node that are not the agent's, and those of the agent that are not what they should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fairway.base.addresses import IPAddress, parse_address
from fairway.base.text import one_line
from fairway.cluster.doctor.case import Case, Opening
from fairway.cluster.doctor.facts import NodeFacts
from fairway.cluster.doctor.filters import Act, FilterTable, Meeting, Probe, changes_marks, meet, without_chains
from fairway.cluster.doctor.finding import Finding, Mend, Severity, some
from fairway.cluster.nftrules import listing
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.diff import diff as ipt_diff
from fairway.dataplane.ipt.frame import MASQUERADE_MARK, NFACCT_COUNTERS, Features
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.parse import parse_save
from fairway.dataplane.ipt.ruleset import Table
from fairway.dataplane.nft.diff import Observed
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.dataplane.nft.ruleset import Ruleset
from fairway.plan.model import Backends, DoorKind, Plan, Source
from fairway.plan.options import Mode

DNAT_PRIORITY = -100
"""NF_IP_PRI_NAT_DST: where Services are translated, in either mode."""

_TRUSTED = (
    names.KUBE_SERVICES,
    names.KUBE_NODEPORTS,
    names.KUBE_EXTERNAL_SERVICES,
    names.KUBE_PROXY_FIREWALL,
    names.KUBE_FIREWALL,
    names.KUBE_POSTROUTING,
)
"""Chains of a proxy itself, whose rules `drift` judges. KUBE-FORWARD is followed: it may let a packet through."""
_EXAMPLES = 2
"""Of a door's backends, one on the node and one elsewhere say what happens to all."""


@dataclass(slots=True)
class _Met:
    """What meets with one rule, or one policy. doors: those whose calls end there."""

    meeting: Meeting
    hook: str
    doors: dict[str, None] = field(default_factory=dict)


def foreign(case: Case) -> Iterator[Finding]:
    """A rule, or a policy, of somebody else that takes packets of Services away."""
    for name, facts in case.facts.items():
        tables = list(without_chains(facts.tables, _TRUSTED))
        marked = changes_marks(facts.tables, besides="KUBE-")
        met: dict[tuple[str, str, str], _Met] = {}
        for plan in case.plans.get(name, ()):
            for opening, hook, meeting in _meetings(case, facts, tables, plan, marked=marked):
                text = meeting.rule.text if meeting.rule is not None else "policy"
                key = str(meeting.table), meeting.chain.name, text
                met.setdefault(key, _Met(meeting, hook)).doors[str(opening)] = None
        for each in met.values():
            yield _foreign(name, each)


def _meetings(
    case: Case, facts: NodeFacts, tables: list[FilterTable], plan: Plan, *, marked: bool
) -> Iterator[tuple[Opening, str, Meeting]]:
    if not any(chain.hook for table in tables for chain in table.chains):
        return
    for port in plan.ports:
        for door in port.doors:
            opening = Opening(port=port, door=door)
            for hook, probe, bounds in _probes(case, facts, plan, opening):
                known = replace(probe, mark=None) if marked else probe
                meeting = meet(tables, hook, known, above=bounds[0], upto=bounds[1])
                if meeting is not None:
                    yield opening, hook, meeting
                    break


_Bounds = tuple[int | None, int | None]


def _probes(case: Case, facts: NodeFacts, plan: Plan, opening: Opening) -> Iterator[tuple[str, Probe, _Bounds]]:
    """The first packets of calls to a door, at each hook they come by, in their order."""
    door = opening.door
    destination = door.address or next(iter(plan.node_addresses), None)
    if destination is None:
        return
    source = _source(case, plan, door.kind)
    link = _link_to(facts, source)
    if door.kind is not DoorKind.CLUSTER_IP:
        entering = Probe(
            source=source,
            destination=destination,
            protocol=str(door.protocol),
            port=door.port,
            iif=link,
            to_node=door.address is None or door.address in plan.node_addresses,
        )
        yield "prerouting", entering, (None, DNAT_PRIORITY)
    way = door.ways[Source.POD if door.kind is DoorKind.CLUSTER_IP else Source.ELSEWHERE]
    if not isinstance(way.outcome, Backends):
        return
    marked = MASQUERADE_MARK if way.masquerade and case.mode_of(plan.node) is Mode.IPTABLES else 0
    by_place = {backend.local: backend for backend in way.outcome.choices}
    for backend in list(by_place.values())[:_EXAMPLES]:
        if backend.address in plan.node_addresses:
            continue  # a pod of the node's own network, which no packet is forwarded to
        forwarded = Probe(
            source=source,
            destination=backend.address,
            protocol=str(door.protocol),
            port=backend.port,
            iif=link if door.kind is not DoorKind.CLUSTER_IP else None,
            oif=facts.routes.get(backend.host) or None,
            mark=marked,
        )
        yield "prerouting", forwarded, (DNAT_PRIORITY, None)
        yield "forward", forwarded, (None, None)


def _source(case: Case, plan: Plan, kind: DoorKind) -> IPAddress | None:
    """Somebody who calls: a client that is known, else nobody in particular; of a clusterIP, nobody in particular."""
    if kind is DoorKind.CLUSTER_IP:
        return None
    return next((address for text in case.clients if (address := parse_address(text)).version == plan.family), None)


def _link_to(facts: NodeFacts, source: IPAddress | None) -> str | None:
    return facts.routes.get(str(source)) or None if source is not None else None


def _foreign(node: str, met: _Met) -> Finding:
    meeting = met.meeting
    policy = meeting.rule is None
    where = f"{meeting.table}, chain {one_line(meeting.chain.name)}"
    does = {Act.DNAT: "sends elsewhere", Act.REJECT: "rejects"}.get(meeting.act, "drops")
    if policy:
        evidence = f"{where}: hook {meeting.chain.hook}, priority {meeting.chain.priority}, policy drop"
        mend = Mend(meeting.chain.accept, node)
    else:
        assert meeting.rule is not None
        evidence = f"{where}: {one_line(meeting.rule.text)}"
        mend = Mend(meeting.rule.remove, node)
    count = len(met.doors)
    return Finding(
        check="forward-policy" if policy and met.hook == "forward" else "foreign-rule",
        severity=Severity.FAULT,
        node=node,
        about=where,
        what=f"{'the policy of ' if policy else 'a rule in '}{where} {does} what is sent to Services",
        evidence=evidence,
        consequence=f"calls end there for {count} {'door' if count == 1 else 'doors'}: {some(met.doors)}",
        mend=mend,
    )


def proxies(case: Case) -> Iterator[Finding]:
    """Two programs, or two modes of one, have rules for Services in the kernel."""
    for name, facts in case.facts.items():
        found = dict(_implementations(facts))
        if len(found) < 2:
            continue
        mine = _own(case.mode_of(name), found)
        others = [each for each in found if each != mine]
        yield Finding(
            check="two-proxies",
            severity=Severity.FAULT,
            node=name,
            about=" and ".join(found),
            what="two proxies have rules for Services on the node",
            evidence=f"the kernel holds {' and '.join(found)}",
            consequence="which of them translates a call is decided by who was loaded first, and the one that nobody "
            "keeps up to date sends to endpoints that are gone; stop the other proxy first, or it writes them again",
            mend=Mend(found[others[0]], name),
        )


def _implementations(facts: NodeFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Whose rules there are, and what removes them."""
    for table in facts.services:
        if table.startswith("ip "):
            yield f"table {table}", ("nft", "delete", "table", *table.split())
    for table in facts.kube_proxy:
        if table.startswith(("ip ", "inet ")):
            yield f"kube-proxy's table {table}", ("nft", "delete", "table", *table.split())
    for program, text in facts.saved.items():
        if not program.startswith("ip6") and f"\n-A {names.KUBE_SERVICES} " in text:
            tool = program.removesuffix("-save")
            line = f"{program} | grep -v KUBE- | {tool}-restore"
            yield f"{names.KUBE_SERVICES} of {tool}", ("sh", "-c", line)


def _own(mode: Mode | None, found: Mapping[str, object]) -> str:
    """The one that the proxy's mode says; the first where nothing does."""
    nft = [each for each in found if each.startswith(("table", "kube-proxy"))]
    ipt = [each for each in found if each not in nft]
    wanted = ipt if mode is Mode.IPTABLES else nft
    return (wanted or nft or ipt)[0]


# -- what the agent wrote, beside what it should have


def drift(case: Case) -> Iterator[Finding]:
    """The kernel's rules are not those of the objects."""
    for name, facts in case.facts.items():
        mode = case.mode_of(name)
        for plan in case.plans.get(name, ()):
            if mode is Mode.NFTABLES and not facts.kube_proxy:
                yield from _nft_drift(name, facts, plan)
            elif mode is Mode.IPTABLES:
                yield from _ipt_drift(name, facts, plan)


def _nft_drift(node: str, facts: NodeFacts, plan: Plan) -> Iterator[Finding]:
    wanted = desired_listing(lower_to_nftables(plan))
    held = facts.services.get(wanted["table"])
    if held is None:
        if plan.ports:
            yield _drift(node, f"table {wanted['table']}", "it is not there", "the table of Services is missing")
        return
    differences = list(_listing_differences(held, wanted))
    if differences:
        yield _drift(
            node,
            f"table {wanted['table']}",
            some(differences),
            f"{len(differences)} of the table's entries are not what the objects say",
        )


def desired_listing(ruleset: Ruleset) -> dict[str, Any]:
    """A table as `fairway rules -o json` would have it, were it in the kernel."""
    seen = Observed(
        comment=ruleset.comment,
        sets={name: spec.info for name, spec in ruleset.sets.items()},
        chains=ruleset.chains,
        elements=ruleset.elements,
    )
    return dict(listing(seen, ruleset.family))


def _listing_differences(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, spec in wanted["sets"].items():
        there = held["sets"].get(name)
        if there is None:
            yield f"set {name} is missing"
            continue
        has, should = set(there["elements"]), set(spec["elements"])
        yield from (f"{name}: {element} is missing" for element in sorted(should - has))
        yield from (f"{name}: {element} is too many" for element in sorted(has - should))
    for name in held["sets"].keys() - wanted["sets"].keys():
        yield f"set {name} is too many"
    for name, chain in wanted["chains"].items():
        if name not in held["chains"]:
            yield f"chain {name} is missing"
        elif (held["chains"][name]["rules"], held["chains"][name]["hook"]) != (chain["rules"], chain["hook"]):
            yield f"chain {name} has other rules"
    for name in held["chains"].keys() - wanted["chains"].keys():
        yield f"chain {name} is too many"
    yield from (f"{name} is not the agent's" for name in held.get("foreign", ()))


def _ipt_drift(node: str, facts: NodeFacts, plan: Plan) -> Iterator[Finding]:
    prefix = "ip6tables" if plan.family == 6 else "iptables"
    texts = {program: text for program, text in facts.saved.items() if program.startswith(f"{prefix}-")}
    ours = [text for text in texts.values() if f":{names.KUBE_SERVICES} " in text]
    text = ours[0] if ours else ""
    features = Features(
        nfacct=any(counter in text for counter in NFACCT_COUNTERS),
        drop_invalid=facts.number("net/netfilter/nf_conntrack_tcp_be_liberal") != 1,
    )
    try:
        batch = ipt_diff(parse_save(text), lower_to_iptables(plan, features))
    except ValueError:
        return
    lines = [line.text for line in batch.lines if not line.text.startswith(("*", ":")) and line.text != "COMMIT"]
    heads = [line.text for line in batch.lines if line.text.startswith(":")]
    if batch:
        tables = some(table.value for table in Table if f"*{table.value}" in {line.text for line in batch.lines})
        yield _drift(
            node,
            f"{prefix} {tables}",
            f"{prefix}-restore would have to be told: {some([*lines, *heads], most=3)}",
            "the rules of Services are not what the objects say",
        )


def _drift(node: str, about: str, evidence: str, what: str) -> Finding:
    return Finding(
        check="drift",
        severity=Severity.FAULT,
        node=node,
        about=about,
        what=what,
        evidence=f"{about}: {evidence}",
        consequence="calls go to other endpoints than the objects say, or to none; the node's proxy is dead, lags "
        "behind, or is started with other options than the cluster's ConfigMap says",
        mend=Mend.of("curl -s http://127.0.0.1:10256/healthz", node=node),
    )
