"""Objects nobody would write: whatever decodes is stored or refused, but nothing stumbles over it."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.resources import RESOURCES, SERVICES, Resource
from fairway.api.status import ApiError
from fairway.apiserver.allocators import ServiceAllocator
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.ranges import PortRange
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.model import Field, Scalar, Shape
from fairway.apiserver.tables import table

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

_WORDS = """
    a A_b x/y None Local ClientIP NodePort LoadBalancer ExternalName TCP IPv4 IPv6 10.200.1.9 fd00::1 127.0.0.1
    SingleStack PreferDualStack RequireDualStack Always Exists RollingUpdate 25% -1 ä
"""
WORDS = st.sampled_from(["", *_WORDS.split()])
NUMBERS = st.sampled_from([-1, 0, 1, 80, 30000, 32768, 65536, 2**31 - 1])
SCALARS: dict[Scalar, st.SearchStrategy[Any]] = {
    Scalar.STRING: WORDS,
    Scalar.BOOL: st.booleans(),
    Scalar.INT32: NUMBERS,
    Scalar.INT64: NUMBERS,
    Scalar.BYTES: st.sampled_from(["", "MQ=="]),
    Scalar.TIME: st.sampled_from(["2026-11-23T12:00:00Z", "1969-12-31T23:59:59+14:00"]),
    Scalar.MICRO_TIME: st.just("2026-11-23T12:00:00.000001Z"),
    Scalar.QUANTITY: st.sampled_from(["0", "1", "100m", "-1Gi", "1e3"]),
    Scalar.INT_OR_STRING: st.one_of(NUMBERS, WORDS),
    Scalar.ANY: st.none(),
    Scalar.RAW: st.sampled_from([None, "", 1, [], {}, {"spec": {"template": None}}]),
}


def value_of(field: Field, depth: int) -> st.SearchStrategy[Any]:
    one = SCALARS[field.scalar] if field.scalar is not None else struct(field.element, depth - 1)
    if field.shape is Shape.LIST:
        return st.lists(st.one_of(one, st.none()), max_size=2)
    if field.shape is Shape.MAP:
        return st.dictionaries(WORDS, one, max_size=2)
    return one


@st.composite
def struct(draw: st.DrawFn, name: str, depth: int) -> dict[str, Any]:
    """Some of the fields of a type; deep down only a few."""
    fields = list(SCHEMA.types[name].fields.values())
    if depth <= 0:
        fields = [field for field in fields if field.scalar is not None]
    if not fields:
        return {}
    chosen = draw(st.lists(st.sampled_from(fields), max_size=5, unique_by=lambda field: field.name))
    return {field.name: draw(st.one_of(value_of(field, depth), st.none())) for field in chosen}


@st.composite
def whole(draw: st.DrawFn, resource: Resource) -> dict[str, Any]:
    """An object whose spec and status are there."""
    body = draw(struct(resource.kind, 3))
    for name, field in SCHEMA.types[resource.kind].fields.items():
        if name in ("spec", "status") or field.shape is not Shape.ONE:
            body[name] = draw(value_of(field, 3))
    metadata = {"name": "x", **({"namespace": "default"} if resource.namespaced else {})}
    return {**body, "metadata": {**(draw(struct("ObjectMeta", 1))), **metadata}}


def allocator() -> ServiceAllocator:
    networks = [ip_network("10.200.1.0/24"), ip_network("fd00::/112")]
    return ServiceAllocator(networks=networks, node_ports=PortRange(), rng=random.Random(1))


def attempt(resource: Resource, body: dict[str, Any], other: dict[str, Any]) -> int:
    """Everything a server does with an object, up to the point where it is refused; the HTTP status."""
    strategy, pool = strategy_for(resource), allocator()
    try:
        made = [strategy.default(strategy.decode(copy.deepcopy(one))[0]) for one in (body, other)]
        old, new = made
        if resource is SERVICES:
            old, allocation = pool.allocate(old, None)
            allocation.commit()
        old = strategy.prepare_create(old)
        strategy.validate_create(old)
        again, problems = strategy.decode(old)
        assert (again, problems) == (old, [])
        table(resource, [old], now=NOW)
        strategy.fields(old)
        strategy.warnings(old, None)
        if resource is SERVICES:
            new, _ = pool.allocate(new, old)
        for subresource in ("", "status"):
            changed = strategy.prepare_update(new, old, subresource=subresource)
            strategy.validate_update(changed, old, subresource=subresource)
            table(resource, [changed], now=NOW)
            strategy.warnings(changed, old)
    except ApiError as error:
        return error.code
    return 200


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_whatever_decodes_is_stored_or_refused(resource: Resource) -> None:
    @settings(max_examples=25)
    @given(whole(resource), whole(resource))
    def run(body: dict[str, Any], other: dict[str, Any]) -> None:
        assert attempt(resource, body, other) in (200, 400, 422, 500)

    run()
