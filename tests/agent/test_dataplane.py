"""The iptables data plane as the agent sees it, over a backend that only answers."""

from __future__ import annotations

import pytest

from fairway.agent import dataplane as module
from fairway.agent.dataplane import IptablesDataplane, ServiceRefused
from fairway.api.types import Key
from fairway.base.errors import Retry
from fairway.dataplane.ipt.backend import ApplyError, Variant
from fairway.dataplane.ipt.diff import Batch, diff
from fairway.dataplane.ipt.frame import JUMPS, Features
from fairway.dataplane.ipt.ruleset import Rule, Ruleset
from fairway.plan.options import parse_options
from tests.plan.objects import LOCAL_AND_REMOTE, plan_of, service


class Backend:
    """An empty kernel, or one that refuses."""

    def __init__(self, variant: Variant) -> None:
        self.features = Features()
        self.refusal: Retry | None = None
        self.observed: dict = {}
        self.cleaned = False

    def apply(self, ruleset: Ruleset) -> Batch:
        if self.refusal is not None:
            raise self.refusal
        return diff(self.observed, ruleset)

    def cleanup(self) -> Batch:
        self.cleaned = True
        return Batch()


@pytest.fixture
def dataplane(monkeypatch: pytest.MonkeyPatch) -> IptablesDataplane:
    monkeypatch.setattr(module, "IptablesBackend", Backend)
    return IptablesDataplane(Variant.NFT)


PLAN = plan_of(service(), LOCAL_AND_REMOTE)


def rules_of(dataplane: IptablesDataplane) -> list[Rule]:
    ruleset = module.lower(PLAN, dataplane._backend.features)
    return [rule for chains in ruleset.chains.values() for rules in chains.values() for rule in rules]


def test_it_tells_how_many_rules_there_are_and_how_many_were_written(dataplane):
    applied = dataplane.apply(PLAN)
    assert applied.changed
    assert sum(applied.total.values()) == len(rules_of(dataplane))
    assert set(applied.total) == {"nat", "filter", "mangle"}
    # Into an empty kernel all are written, and the jumps of the builtin chains besides.
    assert sum(applied.written.values()) == sum(applied.total.values()) + len(JUMPS)


def test_a_refused_rule_names_the_service_it_is_for_also_where_an_endpoint_asked_for_it(dataplane):
    refused = next(rule for rule in rules_of(dataplane) if rule.origin and rule.origin.kind != "Service" and rule.owner)
    dataplane._backend.refusal = ApplyError("refused", rule=refused)
    with pytest.raises(ServiceRefused, match=r"^refused$") as caught:
        dataplane.apply(PLAN)
    assert caught.value.service == Key("default", "web")


@pytest.mark.parametrize("error", [ApplyError("refused", rule=None), Retry("locked", after_s=1.0)])
def test_a_failure_that_is_no_services_fault_stays_what_it_is(dataplane, error):
    dataplane._backend.refusal = error
    with pytest.raises(Retry) as caught:
        dataplane.apply(PLAN)
    assert caught.value is error


def test_loopback_is_opened_only_for_node_ports_on_it(dataplane):
    closed = parse_options(localhost_node_ports=False)
    assert dict(dataplane.sysctls(PLAN)) == {"net/ipv4/conf/all/route_localnet": "1"}
    assert dict(dataplane.sysctls(plan_of(service(), options=closed))) == {}


def test_cleanup_is_the_backends(dataplane):
    dataplane.cleanup()
    assert dataplane._backend.cleaned
