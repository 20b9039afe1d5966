"""The iptables data plane as the agent sees it, over a backend that only answers."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import Any

import pytest

from fairway.agent import dataplane as module
from fairway.agent.changes import ChangeTracker
from fairway.agent.dataplane import IptablesDataplane, ServiceRefused
from fairway.agent.step import Target
from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import Retry
from fairway.dataplane.ipt import backend, text
from fairway.dataplane.ipt import lower as lowering
from fairway.dataplane.ipt.backend import ApplyError, Variant
from fairway.dataplane.ipt.diff import Batch, diff
from fairway.dataplane.ipt.frame import JUMPS, Features
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.ruleset import Rule, Ruleset
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service
from fairway.plan.model import Plan
from fairway.plan.options import parse_options, view_node
from fairway.watch.informer import Change
from tests.agent.test_changes import STARTED, change
from tests.dataplane.ipt.kernel import Kernel
from tests.plan.objects import LOCAL_AND_REMOTE, OPTIONS, endpoint, endpoint_slice, node, service


class Backend:
    """An empty kernel, or one that refuses."""

    def __init__(self, variant: Variant, *, family: Family) -> None:
        self.features = Features()
        self.refusal: Retry | None = None
        self.observed: dict = {}

    def lower(self, plan: Plan) -> Ruleset:
        return lower(plan, self.features)

    def apply(self, ruleset: Ruleset) -> Batch:
        if self.refusal is not None:
            raise self.refusal
        return diff(self.observed, ruleset)


@pytest.fixture
def dataplane(monkeypatch: pytest.MonkeyPatch) -> IptablesDataplane:
    monkeypatch.setattr(module, "IptablesBackend", Backend)
    return IptablesDataplane(Variant.NFT)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A whole data plane's: only the programs and the generation are made up."""
    made = Kernel()
    monkeypatch.setattr(backend, "_which", lambda program: program)
    monkeypatch.setattr(backend.subprocess, "run", made.run)
    monkeypatch.setattr(backend, "read_generation", lambda: made.generation)
    monkeypatch.setattr(backend, "ensure_counters", lambda _: True)
    return made


def recorded(monkeypatch: pytest.MonkeyPatch, where: ModuleType, name: str) -> list[Any]:
    """The first argument of every call of that function from now on."""
    given: list[Any] = []
    function = getattr(where, name)

    def record(first: Any, *others: Any) -> Any:
        given.append(first)
        return function(first, *others)

    monkeypatch.setattr(where, name, record)
    return given


VIEW = view_node(node(), OPTIONS)
ASSEMBLY = Assembly(VIEW)
ASSEMBLY.put(compile_service(service(), [LOCAL_AND_REMOTE], VIEW))


def rules_of(dataplane: IptablesDataplane) -> list[Rule]:
    ruleset = dataplane._backend.lower(ASSEMBLY.plan())
    return [rule for chains in ruleset.chains.values() for rules in chains.values() for rule in rules]


def test_it_tells_how_many_rules_there_are_and_how_many_were_written(dataplane):
    applied = dataplane.apply(ASSEMBLY, None)
    assert applied.changed
    assert sum(applied.total.values()) == len(rules_of(dataplane))
    assert set(applied.total) == {"nat", "filter", "mangle"}
    # Into an empty kernel all are written, and the jumps of the builtin chains besides.
    assert sum(applied.written.values()) == sum(applied.total.values()) + len(JUMPS)


def test_a_refused_rule_names_the_service_it_is_for_also_where_an_endpoint_asked_for_it(dataplane):
    refused = next(rule for rule in rules_of(dataplane) if rule.origin and rule.origin.kind != "Service" and rule.owner)
    dataplane._backend.refusal = ApplyError("refused", rule=refused)
    with pytest.raises(ServiceRefused, match=r"^refused$") as caught:
        dataplane.apply(ASSEMBLY, None)
    assert caught.value.service == Key("default", "web")


@pytest.mark.parametrize("error", [ApplyError("refused", rule=None), Retry("locked", after_s=1.0)])
def test_a_failure_that_is_no_services_fault_stays_what_it_is(dataplane, error):
    dataplane._backend.refusal = error
    with pytest.raises(Retry) as caught:
        dataplane.apply(ASSEMBLY, None)
    assert caught.value is error


def test_loopback_is_opened_only_for_node_ports_on_it(dataplane):
    closed = view_node(node(), parse_options(localhost_node_ports=False))
    assert dict(dataplane.sysctls(VIEW)) == {"net/ipv4/conf/all/route_localnet": "1"}
    assert dict(dataplane.sysctls(closed)) == {}


def test_loopback_is_never_opened_for_ipv6(monkeypatch):
    monkeypatch.setattr(module, "IptablesBackend", Backend)
    assert dict(IptablesDataplane(Variant.NFT, Family.IPV6).sysctls(VIEW)) == {}


def test_one_changed_slice_costs_no_more_than_its_service(kernel, monkeypatch):
    """Of fifty Services one gets a second endpoint."""
    services = [service(f"web{number}", clusterIP=f"10.200.1.{number + 1}") for number in range(50)]
    slices = [
        endpoint_slice(endpoint(f"10.10.2.{number + 1}"), name=f"web{number}-1", of=f"web{number}")
        for number in range(50)
    ]
    objects = ChangeTracker(started=STARTED)
    feed = objects.feed()
    for each in services:
        objects.service_changed(change(each.metadata.key, None, each))
    for each in slices:
        objects.slice_changed(Change(key=each.metadata.key, previous=None, current=each))
    target = Target()
    target.take_up(objects, feed.take(), node=node(), options=OPTIONS)
    dataplane = IptablesDataplane(Variant.NFT)
    dataplane.apply(target.assembly, None)
    target.confirm()
    before = target.assembly.plan()
    lowered, formatted = recorded(monkeypatch, lowering, "lower_port"), recorded(monkeypatch, text, "format_rule")

    more = endpoint_slice(endpoint("10.10.2.8"), endpoint("10.10.3.8"), name="web7-1", of="web7")
    objects.slice_changed(Change(key=more.metadata.key, previous=slices[7], current=more))
    target.take_up(objects, feed.take(), node=node(), options=OPTIONS)
    after = target.assembly.plan()
    changed = [port for port, former in zip(after.ports, before.ports, strict=True) if port is not former]
    applied = dataplane.apply(target.assembly, frozenset(target.dirty))

    assert [port.name.service for port in changed] == ["web7"]
    assert lowered == changed
    # The door, the masquerade and the choice of the Service's chain, and two rules for each endpoint; of no Service are
    # three rules that let packets be forwarded, and the jump to node ports.
    owners = Counter(rule.owner.service if rule.owner is not None else "" for rule in formatted)
    assert owners == {"web7": 1 + 3 + 2 * 2, "": 4}
    # The chain and the endpoint that is new; nobody had to look what else is there.
    assert dict(applied.written) == {"nat": 3 + 2}
    assert kernel.saves == 1
