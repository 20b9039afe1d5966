"""The loop with a data plane of lists, a clock of hands and a trigger that plays a script: no time passes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from fairway.agent.changes import ChangeTracker
from fairway.agent.dataplane import Applied, ServiceRefused
from fairway.agent.flowcleaner import FlowCleaner
from fairway.agent.health import ProxyHealth
from fairway.agent.metrics import Metrics
from fairway.agent.syncloop import Standing, SyncLoop, SyncSettings, Trigger
from fairway.api.core import Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Retry, Unsupported
from fairway.netlink.conntrack import Flow
from fairway.plan.assembly import Assembly
from fairway.plan.model import Plan
from fairway.plan.options import Mode, NodeView, Options, parse_options
from fairway.watch.informer import Change
from fairway.watch.reflector import Backoff
from tests.agent.test_changes import change, triggered_slice
from tests.plan.objects import OPTIONS, endpoint, endpoint_slice, node, service

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Stands still but for `pass_s`."""

    def __init__(self) -> None:
        self._passed_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self._passed_s)

    def monotonic_s(self) -> float:
        return self._passed_s

    def pass_s(self, seconds: float) -> None:
        self._passed_s += seconds


class EndOfScriptError(Exception):
    """The script is over."""


class ScriptedTrigger(Trigger):
    """Every wait plays one step; a wait on what was fired already returns at once, as the real one does."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        super().__init__()
        self._steps = [*steps]
        self._fired = False
        self.waits: list[float] = []

    def fire(self) -> None:
        self._fired = True

    def clear(self) -> None:
        self._fired = False

    async def wait(self, timeout_s: float) -> None:
        if not self._fired:
            self.waits.append(round(timeout_s, 6))
            if not self._steps:
                raise EndOfScriptError
            self._steps.pop(0)()


class Recorder:
    """A data plane that keeps what it was given; `trouble` is raised first, one a call, and `refused` told of."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.told = False
        self.strangers: list[str] = []
        self.threads: list[bool] = []
        self.changed: list[frozenset[Key] | None] = []
        self.refused: list[dict[Key, str]] = []
        self.plans: list[Plan] = []
        self.trouble: list[Exception] = []
        self.kernel: Plan | None = None
        self.during: Callable[[], None] = lambda: None

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        plan = assembly.plan()
        self.plans.append(plan)
        self.changed.append(changed)
        self.threads.append(threading.current_thread() is not threading.main_thread())
        self.during()
        if self.trouble:
            raise self.trouble.pop(0)
        written, self.kernel = plan != self.kernel, plan
        refused = self.refused.pop(0) if self.refused else {}
        return Applied(changed=written, total={"nat": 7}, written={"nat": 3 if written else 0}, refused=refused)

    def fileno(self) -> int | None:
        return None

    def tampering(self) -> list[str]:
        told, self.strangers = self.strangers, []
        return told

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        return {}

    def remove_others(self) -> None:
        """There are none."""

    def close(self) -> None:
        """Nothing is held."""


class FlowsInMemory:
    """Tracked flows in a list; `trouble` is raised first, one a look."""

    def __init__(self) -> None:
        self.listed: list[Flow] = []
        self.looks: list[Collection[int] | None] = []
        self.threads: list[bool] = []
        self.trouble: list[Exception] = []

    def __enter__(self) -> FlowsInMemory:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def flows(self, family: Family, protocol: int | None = None, *, ports: Collection[int] | None = None) -> list[Flow]:
        self.looks.append(None if ports is None else sorted(ports))
        self.threads.append(threading.current_thread() is not threading.main_thread())
        if self.trouble:
            raise self.trouble.pop(0)
        return [flow for flow in self.listed if (flow.family, flow.protocol) == (family, protocol)]

    def delete(self, flow: Flow) -> bool:
        self.listed.remove(flow)
        return True


class Bench:
    """A loop and everything around it."""

    def __init__(
        self,
        *steps: Callable[[Bench], None],
        options: Options = OPTIONS,
        addresses: Sequence[IPAddress] = (),
        quick: bool = False,
        mode: Mode = Mode.IPTABLES,
    ) -> None:
        self.clock = Clock()
        self.objects = ChangeTracker(started=NOON)
        self.dataplane = Recorder(quick=quick)
        self.health = ProxyHealth(timeout_s=60)
        self.metrics = Metrics(mode)
        self.told: list[Standing] = []
        self.unprogrammed: list[tuple[Key, str]] = []
        self.taken: list[tuple[Key, str]] = []
        self.trigger = ScriptedTrigger(*[lambda step=step: step(self) for step in steps])
        self.addresses = tuple(addresses)
        self.flows = FlowsInMemory()
        settings = SyncSettings(
            node_name="here", options=options, period_s=30.0, backoff=Backoff(initial_s=0.1, limit_s=30.0)
        )
        self.loop = SyncLoop(
            settings,
            objects=self.objects,
            dataplane=self.dataplane,
            trigger=self.trigger,
            health=self.health,
            metrics=self.metrics,
            clock=self.clock,
            on_applied=self._applied,
            on_unprogrammed=lambda key, reason: self.unprogrammed.append((key, reason)),
            on_door_taken=lambda key, reason: self.taken.append((key, reason)),
            local_addresses=lambda: self.addresses,
            flows=FlowCleaner(open_table=lambda: self.flows, local_addresses=lambda: self.addresses),
        )
        self.objects.node_changed(change(Key("", "here"), None, node()))

    async def _applied(self, standing: Standing) -> None:
        self.told.append(standing)

    def put(self, current: Service | None = None, *, name: str = "web", **spec: object) -> None:
        key = Key("default", name)
        wanted = current or service(name, **spec)
        if self.objects.service_changed(change(key, self.objects.services.get(key), wanted)):
            self.loop.change_seen()

    def endpoints(self, *addresses: str, name: str = "web") -> None:
        self.put_slice(endpoint_slice(*[endpoint(address) for address in addresses], name=f"{name}-1", of=name))

    def put_slice(self, current: EndpointSlice) -> None:
        key = current.metadata.key
        previous = self.objects.slices_of(Key("default", current.service_name)).get(key)
        if self.objects.slice_changed(Change(key=key, previous=previous, current=current)):
            self.loop.change_seen()

    async def play(self) -> None:
        with pytest.raises(EndOfScriptError):
            await self.loop.run()

    def backends(self) -> list[list[str]]:
        """Of each Plan that was applied, all backends."""
        return [[str(backend) for port in plan.ports for backend in port.cluster] for plan in self.dataplane.plans]

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics._registry.get_sample_value(name, labels or None)


def passing(seconds: float) -> Callable[[Bench], None]:
    return lambda bench: bench.clock.pass_s(seconds)


async def test_it_syncs_at_once_and_then_waits_a_whole_period():
    bench = Bench()
    bench.put()
    bench.endpoints("10.10.1.1")
    await bench.play()
    assert bench.backends() == [["10.10.1.1:8080"]]
    assert [standing.view.name for standing in bench.told] == ["here"]
    assert bench.trigger.waits == [30.0]


async def test_a_change_is_applied_at_once_and_does_not_put_off_the_next_look():
    def change_it(bench: Bench) -> None:
        bench.clock.pass_s(10)
        bench.endpoints("10.10.1.2")

    bench = Bench(change_it, passing(30))
    bench.put()
    bench.endpoints("10.10.1.1")
    await bench.play()
    assert bench.backends() == [["10.10.1.1:8080"], ["10.10.1.2:8080"], ["10.10.1.2:8080"]]
    assert bench.trigger.waits == [30.0, 30.0, 30.0]


async def test_a_change_that_comes_to_the_same_plan_writes_nothing_and_is_healthy():
    def relabel(bench: Bench) -> None:
        bench.put(service(labels={"team": "blue"}))
        bench.clock.pass_s(5)

    bench = Bench(relabel)
    bench.put()
    await bench.play()
    assert len(bench.dataplane.plans) == 1
    assert bench.trigger.waits == [30.0, 25.0]
    assert bench.health.healthy(NOON + timedelta(hours=1))


async def test_what_changes_during_an_apply_is_taken_up_together_after_it():
    bench = Bench()
    bench.put()
    bench.endpoints("10.10.1.1")

    def three_changes() -> None:
        bench.dataplane.during = lambda: None
        for address in ("10.10.1.2", "10.10.1.3", "10.10.1.4"):
            bench.endpoints(address)

    bench.dataplane.during = three_changes
    await bench.play()
    assert bench.backends() == [["10.10.1.1:8080"], ["10.10.1.4:8080"]]


async def test_an_unchanged_kernel_is_looked_at_every_period_and_a_stranger_is_told_of(caplog):
    def flush(bench: Bench) -> None:
        bench.clock.pass_s(30)
        bench.dataplane.kernel = None

    bench = Bench(passing(30), flush, passing(30))
    bench.put()
    with caplog.at_level(logging.WARNING):
        await bench.play()
    assert len(bench.dataplane.plans) == 4
    assert bench.dataplane.kernel is not None
    assert [record.message for record in caplog.records if "someone else" in record.message] == [
        "rules were changed by someone else; they are repaired"
    ]


async def test_a_slow_kernel_is_looked_at_less_often():
    bench = Bench()
    bench.put()
    bench.dataplane.during = lambda: bench.clock.pass_s(3)
    await bench.play()
    assert bench.trigger.waits == [60.0]


async def test_a_failed_apply_is_tried_again_with_growing_waits_and_logged_once(caplog):
    bench = Bench(passing(0.1), passing(0.2), passing(0.4))
    bench.dataplane.trouble = [Retry("the lock is taken", after_s=1.0) for _ in range(3)]
    bench.put()
    with caplog.at_level(logging.INFO):
        await bench.play()
    assert len(bench.dataplane.plans) == 4
    assert bench.trigger.waits == [0.1, 0.2, 0.4, 30.0]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == [
        "rules could not be written: the lock is taken; trying again",
        "rules are written again after 3 failures",
    ]
    assert bench.sample("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", ip_family="IPv4") == 3


async def test_after_a_failure_the_same_plan_is_applied_again_although_it_was_applied_before():
    """A write that failed half way leaves the kernel unknown, also where the objects went back meanwhile."""

    def fail_next(bench: Bench) -> None:
        bench.dataplane.trouble = [Retry("no", after_s=1.0)]
        bench.endpoints("10.10.1.2")

    def go_back(bench: Bench) -> None:
        bench.endpoints("10.10.1.1")

    bench = Bench(fail_next, go_back)
    bench.put()
    bench.endpoints("10.10.1.1")
    await bench.play()
    assert bench.backends() == [["10.10.1.1:8080"], ["10.10.1.2:8080"], ["10.10.1.1:8080"]]


async def test_an_apply_that_fails_for_long_makes_the_proxy_unhealthy_until_it_works():
    def late(bench: Bench) -> None:
        bench.clock.pass_s(59)
        assert bench.health.healthy(bench.clock.now())
        bench.clock.pass_s(1)
        assert not bench.health.healthy(bench.clock.now())

    def fail_next(bench: Bench) -> None:
        bench.dataplane.trouble = [Retry("no", after_s=1.0)]
        bench.endpoints("10.10.1.2")

    bench = Bench(fail_next, late)
    bench.put()
    bench.endpoints("10.10.1.1")
    await bench.play()
    assert len(bench.dataplane.plans) == 3
    assert bench.health.healthy(bench.clock.now())


async def test_a_program_that_hangs_makes_the_proxy_unhealthy_while_it_hangs_though_nothing_changed():
    healthy_while_hanging: list[bool] = []

    def hang(bench: Bench) -> None:
        def hanging() -> None:
            bench.clock.pass_s(60)
            healthy_while_hanging.append(bench.health.healthy(bench.clock.now()))
            bench.dataplane.during = lambda: None

        bench.clock.pass_s(30)
        bench.dataplane.during = hanging

    bench = Bench(hang)
    bench.put()
    await bench.play()
    assert healthy_while_hanging == [False]
    assert bench.health.healthy(bench.clock.now())


async def test_a_machine_that_can_never_hold_the_rules_ends_the_loop():
    bench = Bench()
    bench.dataplane.trouble = [Unsupported("run as root")]
    bench.put()
    with pytest.raises(Unsupported, match="run as root"):
        await bench.loop.run()


async def test_a_service_the_kernel_refuses_stays_as_it_was_and_the_others_go_on(caplog):
    refusal = ServiceRefused("the rule was refused", service=Key("default", "web"))

    def change_both(bench: Bench) -> None:
        bench.dataplane.trouble = [refusal]
        bench.endpoints("10.10.1.2")
        bench.endpoints("10.10.3.2", name="other")

    def mend(bench: Bench) -> None:
        bench.endpoints("10.10.1.3")

    bench = Bench(change_both, mend)
    for name, address, cluster_ip in (("web", "10.10.1.1", "10.200.1.5"), ("other", "10.10.3.1", "10.200.1.6")):
        bench.put(name=name, clusterIP=cluster_ip)
        bench.endpoints(address, name=name)
    with caplog.at_level(logging.ERROR):
        await bench.play()
    assert [sorted(backends) for backends in bench.backends()] == [
        ["10.10.1.1:8080", "10.10.3.1:8080"],
        ["10.10.1.2:8080", "10.10.3.2:8080"],
        ["10.10.1.1:8080", "10.10.3.2:8080"],
        ["10.10.1.3:8080", "10.10.3.2:8080"],
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "Service default/web is left as it was: the rule was refused"
    ]


async def test_a_refused_service_gets_another_chance_at_the_next_look_and_is_told_of_once(caplog):
    refusal = ServiceRefused("the rule was refused", service=Key("default", "web"))

    def again(bench: Bench) -> None:
        bench.clock.pass_s(30)
        bench.dataplane.trouble = [refusal]

    bench = Bench(again, passing(30))
    bench.dataplane.trouble = [refusal]
    bench.put()
    with caplog.at_level(logging.ERROR):
        await bench.play()
    assert [len(plan.ports) for plan in bench.dataplane.plans] == [1, 0, 1, 0, 1]
    assert len(caplog.records) == 1


async def test_a_service_that_is_refused_even_as_it_was_is_a_failure_like_any_other():
    refusal = ServiceRefused("the rule was refused", service=Key("default", "web"))
    bench = Bench(passing(0.1))
    bench.dataplane.trouble = [refusal, refusal]
    bench.put()
    await bench.play()
    assert [len(plan.ports) for plan in bench.dataplane.plans] == [1, 0, 0]
    assert bench.trigger.waits == [0.1, 30.0]


async def test_a_deleted_node_leaves_its_rules_as_they_were():
    def delete_node(bench: Bench) -> None:
        bench.objects.node_changed(change(Key("", "here"), node(), None))
        bench.loop.change_seen()

    bench = Bench(delete_node)
    bench.put()
    await bench.play()
    assert len(bench.dataplane.plans) == 1


async def test_addresses_of_interfaces_take_node_ports_where_networks_choose_them():
    options = parse_options(node_port_addresses=["192.0.2.0/24"])
    bench = Bench(options=options, addresses=[ip_address("127.0.0.1"), ip_address("192.0.2.7")])
    bench.put()
    await bench.play()
    [plan] = bench.dataplane.plans
    assert [str(address) for address in plan.node_addresses] == ["172.18.0.5", "127.0.0.1", "192.0.2.7"]


async def test_what_the_plan_cannot_use_is_logged_once(caplog):
    def stray(bench: Bench) -> None:
        bench.endpoints("10.10.1.9")

    bench = Bench(stray)
    bench.put(externalIPs=["nonsense"])
    with caplog.at_level(logging.WARNING):
        await bench.play()
    assert len(bench.dataplane.plans) == 2
    assert len([record for record in caplog.records if "nonsense" in record.getMessage()]) == 1


async def test_metrics_count_what_was_done():
    def change_slice(bench: Bench) -> None:
        bench.clock.pass_s(2)
        bench.objects.slice_changed(Change(key=Key("default", "web-1"), previous=None, current=triggered_slice("")))
        bench.objects.slice_changed(
            Change(key=Key("default", "web-1"), previous=None, current=triggered_slice("2026-01-01T12:00:01Z"))
        )
        bench.loop.change_seen()

    bench = Bench(change_slice)
    bench.put()
    await bench.play()
    family = {"ip_family": "IPv4"}
    assert bench.sample("kubeproxy_sync_proxy_rules_duration_seconds_count", **family) == 2
    assert bench.sample("kubeproxy_sync_full_proxy_rules_duration_seconds_count", **family) == 1
    assert bench.sample("kubeproxy_sync_partial_proxy_rules_duration_seconds_count", **family) == 1
    assert bench.sample("kubeproxy_network_programming_duration_seconds_count", **family) == 1
    assert bench.sample("kubeproxy_network_programming_duration_seconds_sum", **family) == 1.0
    assert bench.sample("fairway_network_programming_duration_seconds_count", **family) == 1
    assert bench.sample("kubeproxy_sync_proxy_rules_iptables_total", **family, table="nat") == 7
    assert bench.sample("kubeproxy_sync_proxy_rules_iptables_last", **family, table="nat") == 3
    assert bench.sample("kubeproxy_sync_proxy_rules_last_timestamp_seconds", **family) == NOON.timestamp() + 2


async def test_the_real_trigger_wakes_at_once_and_remembers_that_it_was_fired():
    trigger = Trigger()
    trigger.fire()
    await trigger.wait(3600)
    trigger.clear()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(trigger.wait(3600))
        await asyncio.sleep(0)
        trigger.fire()
    assert waiting.done()
    trigger.clear()
    await trigger.wait(0)
