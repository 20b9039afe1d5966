"""What others do to the rules is undone at once, but not without end."""

from __future__ import annotations

import pytest

from fairway.agent.repairs import RepairLimit
from fairway.plan.options import Mode
from tests.agent.test_syncloop import Bench, passing


def test_a_few_repairs_may_follow_each_other_and_then_one_a_second():
    limit = RepairLimit(burst=3, every_s=1.0)
    assert [limit.wait_s(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert limit.wait_s(100.25) == 0.75
    assert [limit.wait_s(101.0), limit.wait_s(101.0)] == [0.0, 1.0]


def test_a_quiet_while_brings_back_no_more_than_the_first_few():
    limit = RepairLimit(burst=2, every_s=1.0)
    assert [limit.wait_s(9000.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def _tampering(*what: str):
    def happen(bench: Bench) -> None:
        bench.dataplane.strangers = [*what]
        bench.trigger.fire()

    return happen


def _told(*steps, **more) -> Bench:
    bench = Bench(*steps, quick=True, **more)
    bench.dataplane.told = True
    bench.put()
    return bench


async def test_the_kernel_is_looked_at_whole_as_soon_as_it_tells_of_somebody_else(caplog: pytest.LogCaptureFixture):
    bench = _told(_tampering("the table was deleted by nft (pid 7)"), passing(1))
    await bench.play()
    assert bench.dataplane.changed == [None, None]
    [line] = [record.message for record in caplog.records if "somebody else" in record.message]
    assert line == "somebody else changed our rules: the table was deleted by nft (pid 7); repaired"
    assert bench.sample("fairway_repairs_total", ip_family="IPv4") == 1


async def test_a_kernel_that_tells_is_otherwise_looked_at_every_ten_minutes():
    bench = _told(passing(599), passing(1))
    await bench.play()
    assert bench.trigger.waits == [600.0, 1.0, 600.0]
    assert bench.dataplane.changed == [None, None]


async def test_somebody_who_does_it_again_and_again_is_answered_once_a_second():
    again = [_tampering("an element was deleted from services") for _ in range(12)]
    bench = _told(*again, passing(1))
    await bench.play()
    # The first look, ten repairs at once, and the eleventh a second later; what came meanwhile is undone with it.
    assert bench.dataplane.changed == [None] * 12
    assert bench.trigger.waits[-2] == 1.0


async def test_many_changes_at_once_are_a_line_with_the_first_of_them(caplog: pytest.LogCaptureFixture):
    bench = _told(_tampering("one", "two", "three", "four\nfive"), passing(1))
    await bench.play()
    [line] = [record.message for record in caplog.records if "somebody else" in record.message]
    assert line == "somebody else changed our rules: one; two; three; repaired"


async def test_what_a_stranger_wrote_into_a_name_stays_in_its_line(caplog: pytest.LogCaptureFixture):
    bench = _told(_tampering("chain a\nb was made"), passing(1))
    await bench.play()
    [line] = [record.message for record in caplog.records if "somebody else" in record.message]
    assert "\n" not in line


def test_failures_are_counted_by_kube_proxys_name_for_the_mode():
    bench = Bench(mode=Mode.NFTABLES)
    bench.metrics.failed(bench.loop._settings.family)
    assert bench.sample("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", ip_family="IPv4") == 1
