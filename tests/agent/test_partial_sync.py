"""What a data plane is asked for that writes differences: what changed and no more, and what it did not take."""

from __future__ import annotations

import logging

import pytest

from fairway.api.types import Key
from fairway.base.errors import Retry
from fairway.plan.options import parse_options
from fairway.watch.informer import Change
from tests.agent.test_changes import change
from tests.agent.test_syncloop import Bench, passing
from tests.plan.objects import endpoint_slice, node

WEB, OTHER = Key("default", "web"), Key("default", "other")


def two_services(*steps, **more) -> Bench:
    bench = Bench(*steps, quick=True, **more)
    for key, address, cluster_ip in ((WEB, "10.10.1.1", "10.200.1.5"), (OTHER, "10.10.3.1", "10.200.1.6")):
        bench.put(name=key.name, clusterIP=cluster_ip)
        bench.endpoints(address, name=key.name)
    return bench


def change_web(bench: Bench) -> None:
    bench.endpoints("10.10.1.2")


async def test_at_first_and_at_each_look_it_is_asked_for_everything_between_them_for_what_changed():
    bench = two_services(change_web, passing(30))
    await bench.play()
    assert bench.dataplane.changed == [None, {WEB}, None]


async def test_a_change_of_the_node_asks_for_everything():
    def move(bench: Bench) -> None:
        bench.objects.node_changed(change(Key("", "here"), node(), node(zone="b")))
        bench.loop.change_seen()

    bench = two_services(move)
    await bench.play()
    assert bench.dataplane.changed == [None, None]


async def test_after_a_failure_it_is_asked_for_everything_until_it_has_worked():
    def fail(bench: Bench) -> None:
        bench.dataplane.trouble = [Retry("no", after_s=1.0)]
        change_web(bench)

    bench = two_services(fail, lambda bench: bench.endpoints("10.10.3.2", name="other"), change_web)
    await bench.play()
    assert bench.dataplane.changed == [None, {WEB}, None]


async def test_services_that_gain_or_lose_a_door_by_anothers_change_are_told_of():
    def share(bench: Bench) -> None:
        bench.put(name="a", clusterIP="10.200.1.5")

    bench = two_services(share)
    await bench.play()
    assert bench.dataplane.changed == [None, {WEB, Key("default", "a")}]


async def test_a_quick_data_plane_is_called_in_the_loop_unless_it_has_to_look_at_everything():
    bench = two_services(change_web, passing(30))
    await bench.play()
    assert bench.dataplane.threads == [True, False, True]


async def test_a_slow_data_plane_is_never_called_in_the_loop():
    bench = Bench(change_web)
    bench.put()
    bench.endpoints("10.10.1.1")
    await bench.play()
    assert bench.dataplane.threads == [True, True]


async def test_who_follows_the_kernel_is_told_at_each_look_and_when_a_health_check_changed():
    def balance(bench: Bench) -> None:
        bench.put(name="other", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000)

    bench = two_services(change_web, balance, passing(30))
    await bench.play()
    assert len(bench.dataplane.plans) == 4
    ports = [[check.port for check in standing.health_checks] for standing in bench.told]
    assert ports == [[], [32000], [32000]]


async def test_a_service_left_out_of_a_write_is_put_back_as_it_was_and_told_of_once(caplog):
    def refuse_web(bench: Bench) -> None:
        bench.dataplane.refused = [{WEB: "a chain is too long"}]
        bench.endpoints("10.10.1.2")
        bench.endpoints("10.10.3.2", name="other")

    def refuse_again(bench: Bench) -> None:
        bench.clock.pass_s(30)
        bench.dataplane.refused = [{WEB: "a chain is too long"}]

    def mend(bench: Bench) -> None:
        bench.endpoints("10.10.1.3")

    bench = two_services(refuse_web, refuse_again, mend)
    with caplog.at_level(logging.ERROR):
        await bench.play()
    assert bench.dataplane.changed == [None, {WEB, OTHER}, {WEB}, None, {WEB}, {WEB}]
    assert [sorted(backends) for backends in bench.backends()] == [
        ["10.10.1.1:8080", "10.10.3.1:8080"],
        ["10.10.1.2:8080", "10.10.3.2:8080"],
        ["10.10.1.1:8080", "10.10.3.2:8080"],
        ["10.10.1.2:8080", "10.10.3.2:8080"],
        ["10.10.1.1:8080", "10.10.3.2:8080"],
        ["10.10.1.3:8080", "10.10.3.2:8080"],
    ]
    assert bench.unprogrammed == [(WEB, "a chain is too long")]
    assert len(caplog.records) == 1
    assert bench.trigger.waits == [30.0, 30.0, 30.0, 30.0]


async def test_a_service_that_is_refused_as_it_was_too_is_left_out_and_then_nobody_goes_on_for_ever():
    refusal = {WEB: "a chain is too long"}

    def refuse_always(bench: Bench) -> None:
        bench.dataplane.refused = [refusal, refusal, refusal]
        change_web(bench)

    bench = two_services(refuse_always, passing(0.1))
    await bench.play()
    assert [len(plan.ports) for plan in bench.dataplane.plans] == [2, 2, 2, 1, 1]
    assert bench.dataplane.changed == [None, {WEB}, {WEB}, {WEB}, None]
    assert bench.trigger.waits == [30.0, 0.1, 30.0]


async def test_what_is_refused_anew_after_it_worked_is_told_of_anew():
    def refuse(bench: Bench) -> None:
        bench.clock.pass_s(30)
        bench.dataplane.refused = [{WEB: "no room"}]
        bench.endpoints("10.10.1.2")

    bench = two_services(refuse, passing(30), lambda bench: bench.endpoints("10.10.1.1"), refuse)
    await bench.play()
    assert bench.unprogrammed == [(WEB, "no room"), (WEB, "no room")]


async def test_ports_without_local_endpoints_are_counted_as_services_come_and_go():
    def lack(bench: Bench) -> None:
        bench.put(clusterIP="10.200.1.5", internalTrafficPolicy="Local")

    counted: list[float | None] = []

    def count(bench: Bench) -> None:
        counted.append(
            bench.sample(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total", ip_family="IPv4", traffic_policy="internal"
            )
        )

    def go(bench: Bench) -> None:
        count(bench)
        bench.objects.service_changed(change(WEB, bench.objects.services[WEB], None))
        bench.loop.change_seen()

    bench = two_services(lack, go, count)
    await bench.play()
    assert counted == [1.0, 0.0]


async def test_a_service_that_is_left_out_whole_is_told_of_as_one_that_is_refused(monkeypatch):
    monkeypatch.setattr("fairway.plan.compile.MAX_BACKENDS", 2)
    bench = two_services(lambda bench: bench.endpoints("10.10.1.1", "10.10.1.2", "10.10.1.3"), change_web)
    await bench.play()
    assert [len(plan.ports) for plan in bench.dataplane.plans] == [2, 1, 2]
    [(key, reason)] = bench.unprogrammed
    assert key == WEB
    assert reason.startswith("Service default/web has more usable endpoints at port 80 than the 2 ")


async def test_interfaces_are_asked_at_each_look_and_not_for_each_change():
    options = parse_options(node_port_addresses=["172.18.0.0/16"])
    bench = two_services(change_web, passing(30), options=options)
    asked: list[int] = []
    bench.loop._local_addresses = lambda: asked.append(1) or ()
    await bench.play()
    assert (len(bench.dataplane.plans), len(asked)) == (3, 2)


@pytest.mark.parametrize("name", ["a\nERROR forged", 'a"; flush ruleset; "', "a\r\x1b[2J"])
async def test_a_name_that_is_none_makes_no_line_of_its_own_in_the_log(name, caplog):
    def stray(bench: Bench) -> None:
        bench.put(name=name, clusterIP="10.200.1.7", externalIPs=["nonsense\n"])
        slice_of_none = endpoint_slice(name=name, of="")
        bench.objects.slice_changed(Change(key=slice_of_none.metadata.key, previous=None, current=slice_of_none))
        bench.dataplane.refused = [{Key("default", name): f"refused {name}"}]

    bench = two_services(stray)
    with caplog.at_level(logging.WARNING):
        await bench.play()
    assert len(caplog.records) == 3
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert bench.unprogrammed == [(Key("default", name), f"refused {name}")]
