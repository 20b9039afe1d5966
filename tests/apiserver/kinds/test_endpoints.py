from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import ENDPOINT_SLICES, ENDPOINTS
from fairway.apiserver.kinds import strategy_for
from tests.apiserver.kinds.support import change, new, wrong, wrong_change


def sliced(*addresses: str, kind: str = "IPv4", **parts: Any) -> dict[str, Any]:
    return {"addressType": kind, "endpoints": [{"addresses": [one]} for one in addresses], "ports": [], **parts}


def test_a_slice_of_good_endpoints_is_valid() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    assert wrong(ENDPOINT_SLICES, sliced("10.10.1.2", "10.10.2.2", ports=ports)) == []
    assert wrong(ENDPOINT_SLICES, sliced("fd00::1", kind="IPv6")) == []
    assert wrong(ENDPOINT_SLICES, sliced("a.example", kind="FQDN")) == []


def test_ports_have_an_empty_name_and_tcp_by_default() -> None:
    assert new(ENDPOINT_SLICES, sliced(ports=[{"port": 80}]))["ports"] == [{"name": "", "protocol": "TCP", "port": 80}]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (sliced(kind=""), ["addressType: Required value"]),
        (sliced(kind="IP"), ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"']),
        (
            sliced("fd00::1"),
            ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address'],
        ),
        (
            sliced("127.0.0.1"),
            [
                (
                    'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": '
                    "may not be in the loopback range (127.0.0.0/8, ::1/128)"
                )
            ],
        ),
        (
            sliced(endpoints=[{"addresses": []}]),
            ["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (
            sliced(endpoints=[{"addresses": ["10.0.0.1"] * 101}]),
            ["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
        ),
        (
            sliced(*["10.0.0.1"] * 1001),
            ["endpoints: Too many: 1001: must have at most 1000 items"],
        ),
        (
            sliced(endpoints=[{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "z"}] * 9}}]),
            ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"],
        ),
        (
            sliced(ports=[{"name": "a", "port": 0}, {"name": "a", "port": 1, "protocol": "X"}]),
            [
                "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                'ports[1].name: Duplicate value: "a"',
                'ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
    ],
)
def test_each_field_of_a_slice_has_its_rules(body: dict[str, Any], found: list[str]) -> None:
    seen = wrong(ENDPOINT_SLICES, body)
    assert [text for text in seen if "endpoints[0].addresses[1" not in text] == found


def test_the_address_type_does_not_change() -> None:
    old = new(ENDPOINT_SLICES, sliced())
    assert wrong_change(ENDPOINT_SLICES, old, {"addressType": "IPv6"}) == [
        'addressType: Invalid value: "IPv6": field is immutable'
    ]


def test_endpoints_and_labels_count_as_changes_and_annotations_do_not() -> None:
    old = new(ENDPOINT_SLICES, sliced("10.10.1.2"))
    assert old["metadata"]["generation"] == 1

    def generation(**parts: Any) -> int:
        return int(change(ENDPOINT_SLICES, old, parts)["metadata"]["generation"])

    assert generation() == 1
    assert generation(endpoints=[]) == 2
    assert generation(metadata={**old["metadata"], "labels": {"a": "b"}}) == 2
    assert generation(metadata={**old["metadata"], "annotations": {"a": "b"}}) == 1


@pytest.mark.parametrize(
    ("subset", "found"),
    [
        ({"addresses": [{"ip": "10.10.1.2"}], "ports": [{"port": 80}]}, []),
        ({"ports": [{"port": 80}]}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        (
            {"notReadyAddresses": [{"ip": "x"}]},
            [
                (
                    'subsets[0].notReadyAddresses[0].ip: Invalid value: "x": '
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                )
            ],
        ),
        (
            {"addresses": [{"ip": "10.10.1.2"}], "ports": [{"port": 80}, {"name": "a", "port": 0}]},
            [
                "subsets[0].ports[0].name: Required value",
                "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
    ],
)
def test_each_field_of_endpoints_has_its_rules(subset: dict[str, Any], found: list[str]) -> None:
    assert wrong(ENDPOINTS, {"subsets": [subset]}) == found


def test_a_put_makes_endpoints_but_no_slice() -> None:
    assert strategy_for(ENDPOINTS).allow_create_on_update
    assert not strategy_for(ENDPOINT_SLICES).allow_create_on_update
