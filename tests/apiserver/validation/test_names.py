from __future__ import annotations

import pytest

from fairway.apiserver.validation import names

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize("name", ["a", "9a", "a-b", "a" * 63])
def test_labels_of_dns(name: str) -> None:
    assert names.dns_label(name) == []


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a-", "a_b", "a\n"])
def test_no_labels_of_dns(name: str) -> None:
    assert names.dns_label(name) == [LABEL]


def test_a_label_that_is_too_long() -> None:
    assert names.dns_label("a" * 64) == ["must be no more than 63 characters"]
    assert names.dns_label("A" * 64) == ["must be no more than 63 characters", LABEL]


def test_a_prefix_may_end_with_a_dash() -> None:
    assert names.dns_label("web-", prefix=True) == []
    assert names.dns_subdomain("web-", prefix=True) == []
    assert names.dns_label("web-") == [LABEL]


def test_subdomains() -> None:
    assert names.dns_subdomain("a.b-c.9") == []
    assert len(names.dns_subdomain("a..b")) == 1
    assert names.dns_subdomain("a" * 254) == ["must be no more than 253 characters"]


@pytest.mark.parametrize("name", ["app", "example.com/App_1.x", "kubernetes.io/metadata.name"])
def test_qualified_names(name: str) -> None:
    assert names.qualified_name(name) == []


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a/b/c", "a qualified name must consist of"),
        ("/b", "prefix part must be non-empty"),
        ("A/b", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/", "name part must be non-empty"),
        ("a" * 64, "name part must be no more than 63 characters"),
        ("a b", "name part must consist of"),
    ],
)
def test_no_qualified_names(name: str, start: str) -> None:
    assert names.qualified_name(name)[0].startswith(start)


def test_labels_are_checked_by_key_and_value() -> None:
    causes = names.labels("metadata.labels", {"good": "", "a b": "x", "c": "-"})
    assert [(cause.field, cause.message.partition(": ")[2].partition(":")[0]) for cause in causes] == [
        ("metadata.labels", '"a b"'),
        ("metadata.labels", '"-"'),
    ]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("http", []),
        ("a" * 16, ["must be no more than 15 characters"]),
        ("80", ["must contain at least one letter (a-z)"]),
        ("a--b", ["must not contain consecutive hyphens"]),
        ("-a", ["must not begin or end with a hyphen"]),
        ("Http", ["must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)"]),
    ],
)
def test_port_names(name: str, wrong: list[str]) -> None:
    assert names.port_name(name) == wrong


@pytest.mark.parametrize("key", ["a", "A.b-c_d", ".hidden"])
def test_config_keys(key: str) -> None:
    assert names.config_key(key) == []


def test_no_config_keys() -> None:
    assert names.config_key("..") == ["must not be '..'"]
    assert names.config_key("..a") == ["must not start with '..'"]
    assert len(names.config_key("a/b")) == 1
    assert names.config_key("a" * 254) == ["must be no more than 253 characters"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1", None),
        ("fd00::1", None),
        ("10.0.0.01", "must not have leading 0s"),
        ("::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ("10.0.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("10.0.0.256", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ],
)
def test_addresses_have_one_spelling(text: str, why: str | None) -> None:
    found = [cause.message for cause in names.ip_address("x", text)]
    assert found == ([] if why is None else [f'Invalid value: "{text}": {why}'])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/8", None),
        ("fd00::/64", None),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("10.0.00.0/8", "must not have leading 0s in IP"),
        ("10.0.0.0/08", "must not have leading 0s in prefix length"),
        ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ("10.0.0.0/33", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ("10.0.0.0/x", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ],
)
def test_networks_have_one_spelling(text: str, why: str | None) -> None:
    found = [cause.message for cause in names.cidr("x", text)]
    assert found == ([] if why is None else [f'Invalid value: "{text}": {why}'])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1", None),
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("169.254.1.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("ff02::1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("224.0.1.1", None),
    ],
)
def test_traffic_goes_only_to_addresses_of_somebody(text: str, why: str | None) -> None:
    found = [cause.message for cause in names.unicast_ip("x", text)]
    assert found == ([] if why is None else [f'Invalid value: "{text}": {why}'])
