from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from tests.apiserver.kinds.support import new, wrong, wrong_change

SERVICE = {"resource": "services", "namespace": "default", "name": "web"}


def of(*cidrs: str) -> dict[str, Any]:
    return {"spec": {"cidrs": list(cidrs)}}


@pytest.mark.parametrize(
    ("cidrs", "found"),
    [
        (["203.0.113.0/24"], []),
        (["203.0.113.0/24", "2001:db8::/112"], []),
        (["2001:db8::/112", "203.0.113.0/24"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (
            ["10.0.0.0/8", "fd00::/112", "10.1.0.0/16"],
            [
                (
                    'spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","fd00::/112","10.1.0.0/16"]}: '
                    "may only hold up to 2 values"
                )
            ],
        ),
        (
            ["10.0.0.0/24", "10.1.0.0/24"],
            [
                (
                    'spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/24","10.1.0.0/24"]}: may specify no more than one '
                    "IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"
                )
            ],
        ),
        (
            ["10.0.0.1/24"],
            ['spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length'],
        ),
        (["010.0.0.0/24"], ['spec.cidrs[0]: Invalid value: "010.0.0.0/24": must not have leading 0s in IP']),
        (
            ["10.0.0.0"],
            [
                (
                    'spec.cidrs[0]: Invalid value: "10.0.0.0": '
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                )
            ],
        ),
    ],
)
def test_what_a_service_cidr_may_be(cidrs: list[str], found: list[str]) -> None:
    assert wrong(SERVICE_CIDRS, of(*cidrs)) == found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (["10.0.0.0/24"], ["10.0.0.0/24"], []),
        (["10.0.0.0/24"], ["10.0.0.0/24", "fd00::/112"], []),
        (["10.0.0.0/24"], ["10.0.1.0/24"], ['spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable']),
        (
            ["10.0.0.0/24"],
            ["10.0.1.0/24", "fd00::/112"],
            ['spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable'],
        ),
        (
            ["10.0.0.0/24", "fd00::/112"],
            ["10.0.0.0/24"],
            ['spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable'],
        ),
    ],
)
def test_a_service_cidr_changes_by_a_second_family_alone(before: list[str], after: list[str], found: list[str]) -> None:
    assert wrong_change(SERVICE_CIDRS, new(SERVICE_CIDRS, of(*before)), of(*after)) == found


@pytest.mark.parametrize(
    ("name", "parent", "found"),
    [
        ("10.0.0.1", SERVICE, []),
        ("2001:db8::1", {"resource": "gateways", "group": "example.com", "name": "g"}, []),
        ("10.0.0.1", None, ["spec.parentRef: Required value"]),
        ("10.0.0.1", {"resource": "services"}, ["spec.parentRef.name: Required value"]),
        ("10.0.0.1", {"name": "web"}, ["spec.parentRef.resource: Required value"]),
        (
            "10.0.0.1",
            {**SERVICE, "name": "a/b"},
            ["spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'"],
        ),
        (
            "web",
            SERVICE,
            ['metadata.name: Invalid value: "web": ParseAddr("web"): unable to parse IP'],
        ),
        (
            "2001:db8:0::1",
            SERVICE,
            ['metadata.name: Invalid value: "2001:db8:0::1": must be a canonical format IP address'],
        ),
    ],
)
def test_what_an_ip_address_may_be(name: str, parent: dict[str, str] | None, found: list[str]) -> None:
    spec = {} if parent is None else {"parentRef": parent}
    assert wrong(IP_ADDRESSES, {"metadata": {"name": name}, "spec": spec}) == found


def test_an_ip_address_stays_with_its_parent() -> None:
    old = new(IP_ADDRESSES, {"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": SERVICE}})
    [found] = wrong_change(IP_ADDRESSES, old, {"spec": {"parentRef": {**SERVICE, "name": "other"}}})
    assert found.startswith("spec.parentRef: Invalid value: ")
    assert found.endswith(": field is immutable")
