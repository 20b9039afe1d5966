"""What is read of Services and slices."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.types import Key
from fairway.base.addresses import parse_address
from fairway.base.errors import Refused
from fairway.dns.objects import Port, ServiceNames, label_of, read_service, read_slice
from tests.dns.clusters import HTTP, POD_HTTP, endpoint, endpoint_slice, service


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (
            service("a/web", "10.200.1.7", ports=[HTTP, {"port": 81, "name": None}]),
            {"addresses": (parse_address("10.200.1.7"),), "ports": (Port(port=80, name="http"), Port(port=81))},
        ),
        (service("a/web", "None"), {"headless": True}),
        (service("a/web"), {}),
        (service("a/web", type="ExternalName", externalName="x.y"), {"external_name": "x.y"}),
        # What an ExternalName was before it became one.
        (service("a/web", "10.200.1.7", type="ExternalName", externalName="x.y"), {"external_name": "x.y"}),
    ],
)
def test_services_of_every_kind(obj: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_service(obj) == ServiceNames(key=Key("a", "web"), **expected)


def test_a_slice_has_its_ready_endpoints() -> None:
    read = read_slice(
        endpoint_slice(
            "a/web-x",
            endpoint("10.10.1.1", "One"),
            endpoint("10.10.1.2", ready=False),
            endpoint("10.10.1.3", ready=None),
            of="web",
            ports=[POD_HTTP, {"name": "any", "port": None}],
        )
    )
    assert (read.service, [each.label for each in read.endpoints]) == ("web", ["one", "10-10-1-3"])
    assert read.ports == (Port(port=8080, name="http"), Port(port=0, name="any"))


@pytest.mark.parametrize(
    ("address", "label"),
    [("10.10.1.3", "10-10-1-3"), ("fd00:10:10:1::3", "fd00-10-10-1--3"), ("fd00::", "fd00--0"), ("::1", "0--1")],
)
def test_an_endpoint_without_a_hostname_is_called_by_its_address(address: str, label: str) -> None:
    assert label_of(parse_address(address)) == label


@pytest.mark.parametrize(
    ("read", "obj", "said"),
    [
        (read_service, service("a/web", "10.200.1.300"), "Service a/web: .*10.200.1.300"),
        (
            read_service,
            service("a/web", ports=[{"port": "http"}]),
            r"Service a/web: spec.ports\[0\].port: Expected int",
        ),
        (read_slice, endpoint_slice("a/s", endpoint("ten"), of="web"), "EndpointSlice a/s: .*ten"),
    ],
)
def test_what_cannot_be_read_is_named(read: Any, obj: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(obj)
