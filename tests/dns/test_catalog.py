"""The catalog follows what it is told, and keeps nothing of what is gone."""

from __future__ import annotations

from typing import Any

from fairway.api.types import Key
from fairway.base.addresses import parse_address
from fairway.dns.catalog import Catalog
from fairway.dns.objects import read_service, read_slice
from tests.dns.clusters import endpoint, endpoint_slice, service

ADDRESS = parse_address("10.10.1.1")


def test_a_service_that_changes_leaves_its_old_address() -> None:
    catalog = Catalog()
    before, after = (read_service(service("a/web", address)) for address in ("10.200.1.7", "10.200.1.8"))

    catalog.observe_service(None, before)
    catalog.observe_service(before, after)

    assert catalog.service("a", "web") == after
    assert catalog.services_at(parse_address("10.200.1.7")) == []
    assert catalog.services_at(parse_address("10.200.1.8")) == [Key("a", "web")]


def test_a_namespace_lasts_as_long_as_its_last_service() -> None:
    first, second = (read_service(service(key)) for key in ("a/one", "a/two"))
    catalog = Catalog([first, second])

    catalog.observe_service(first, None)
    assert catalog.has_namespace("a")
    catalog.observe_service(second, None)
    assert not catalog.has_namespace("a")
    assert catalog.service("a", "two") is None


def test_a_slice_is_its_services_whichever_comes_first() -> None:
    headless, its = (
        read_service(service("a/db", "None")),
        read_slice(endpoint_slice("a/s", endpoint("10.10.1.1"), of="db")),
    )
    slice_first, service_first = Catalog(), Catalog()

    slice_first.observe_slice(None, its)
    assert list(slice_first.headless_endpoints_at(ADDRESS)) == []
    slice_first.observe_service(None, headless)
    service_first.observe_service(None, headless)
    service_first.observe_slice(None, its)

    for catalog in (slice_first, service_first):
        assert catalog.slices(Key("a", "db")) == [its]
        assert list(catalog.headless_endpoints_at(ADDRESS)) == [(Key("a", "db"), its.endpoints[0])]


def test_a_slice_that_goes_over_to_another_service_is_the_old_ones_no_more() -> None:
    def of(name: str) -> Any:
        return read_slice(endpoint_slice("a/s", endpoint("10.10.1.1"), of=name))

    catalog = Catalog([read_service(service(f"a/{name}", "None")) for name in ("one", "two")], [of("one")])

    catalog.observe_slice(of("one"), of("two"))

    assert catalog.slices(Key("a", "one")) == []
    assert [owner for owner, _ in catalog.headless_endpoints_at(ADDRESS)] == [Key("a", "two")]
    catalog.observe_slice(of("two"), None)
    assert catalog.slices(Key("a", "two")) == []
    assert list(catalog.headless_endpoints_at(ADDRESS)) == []


def test_each_change_is_a_new_serial() -> None:
    catalog, web = Catalog(), read_service(service("a/web"))
    before = catalog.serial
    catalog.observe_service(None, web)
    catalog.observe_service(web, None)
    assert catalog.serial == before + 2
