"""Which names, labels, ports and addresses are well formed (apimachinery `util/validation/validation.go`, `ip.go`).

Each function returns what is wrong, in the words of a real server; nothing where all is well.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from fairway.api.status import Cause
from fairway.apiserver.validation.field import all_invalid, invalid_value

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"


def _regex_text(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


_LABEL_TEXT = _regex_text(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT = _regex_text(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_QUALIFIED_TEXT = _regex_text(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_TEXT = _regex_text(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_TEXT = _regex_text(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _at_most(limit: int) -> str:
    return f"must be no more than {limit} characters"


def dns_label(name: str, *, prefix: bool = False) -> list[str]:
    """RFC 1123 label. prefix: it will be continued (generateName), so it may end with a dash."""
    name = _without_trailing_dash(name) if prefix else name
    wrong = [] if len(name) <= 63 else [_at_most(63)]
    return wrong if re.fullmatch(_LABEL, name) else [*wrong, _LABEL_TEXT]


def dns_subdomain(name: str, *, prefix: bool = False) -> list[str]:
    """RFC 1123 subdomain: labels joined by dots."""
    name = _without_trailing_dash(name) if prefix else name
    wrong = [] if len(name) <= 253 else [_at_most(253)]
    return wrong if re.fullmatch(_SUBDOMAIN, name) else [*wrong, _SUBDOMAIN_TEXT]


def path_segment(name: str, *, prefix: bool = False) -> list[str]:
    """A name that only has to fit into a URL path (events have such names)."""
    if not prefix and name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{mark}'" for mark in ("/", "%") if mark in name]


def _without_trailing_dash(name: str) -> str:
    return f"{name[:-2]}a" if len(name) > 1 and name.endswith("-") else name


def qualified_name(name: str) -> list[str]:
    """A label key or the like: `name` or `example.com/name`."""
    parts = name.split("/")
    wrong: list[str] = []
    if len(parts) > 2:
        form = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {_QUALIFIED_TEXT} {form}"]
    if len(parts) == 2:
        prefix = parts[0]
        if not prefix:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += [f"prefix part {text}" for text in dns_subdomain(prefix)]
    last = parts[-1]
    if not last:
        wrong.append("name part must be non-empty")
    elif len(last) > 63:
        wrong.append(f"name part {_at_most(63)}")
    if not re.fullmatch(_QUALIFIED, last):
        wrong.append(f"name part {_QUALIFIED_TEXT}")
    return wrong


def label_value(value: str) -> list[str]:
    wrong = [] if len(value) <= 63 else [_at_most(63)]
    return wrong if re.fullmatch(_LABEL_VALUE, value) else [*wrong, _LABEL_VALUE_TEXT]


def config_key(key: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    wrong = [] if len(key) <= 253 else [_at_most(253)]
    if not re.fullmatch(_CONFIG_KEY, key):
        wrong.append(_CONFIG_KEY_TEXT)
    if key in (".", ".."):
        wrong.append(f"must not be '{key}'")
    elif key.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def environment_name(name: str) -> list[str]:
    wrong = []
    if not name or any(not " " <= letter <= "~" or letter == "=" for letter in name):
        wrong.append("a valid environment variable name must consist only of printable ASCII characters other than '='")
    return wrong


def labels(path: str, values: Mapping[str, str]) -> list[Cause]:
    """Keys and values of labels or of a selector."""
    causes: list[Cause] = []
    for key, value in values.items():
        causes += all_invalid(path, key, qualified_name(key))
        causes += all_invalid(path, value, label_value(value))
    return causes


def port_number(port: int) -> list[str]:
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(name: str) -> list[str]:
    """An IANA service name (RFC 6335): what a named targetPort or a container port may be."""
    wrong = []
    if len(name) > 15:
        wrong.append(_at_most(15))
    if not re.fullmatch("[-a-z0-9]+", name):
        wrong.append("must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in name:
        wrong.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def port_number_or_name(port: int | str) -> list[str]:
    return port_name(port) if isinstance(port, str) else port_number(port)


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.lru_cache(maxsize=8192)
def parse_ip(text: str) -> IPAddress | None:
    """The address, None where it is none; leading zeros in IPv4 octets are read as decimal, as Go once did."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    octets = text.split(".")
    if len(octets) == 4 and all(re.fullmatch(r"0*\d{1,3}", octet) for octet in octets):
        try:
            return ipaddress.ip_address(".".join(str(int(octet)) for octet in octets))
        except ValueError:
            return None
    return None


def ip_address(path: str, text: str) -> list[Cause]:
    """An address in its one spelling (KEP-4858: no leading zeros, no IPv4-mapped IPv6)."""
    parsed = parse_ip(text)
    if parsed is None:
        return [invalid_value(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    if isinstance(parsed, ipaddress.IPv4Address) and str(parsed) != text:
        return [invalid_value(path, text, "must not have leading 0s")]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return [invalid_value(path, text, "must not be an IPv4-mapped IPv6 address")]
    return []


def cidr(path: str, text: str) -> list[Cause]:
    """A network in its one spelling."""
    address, slash, length = text.partition("/")
    parsed = parse_ip(address)
    if not slash or parsed is None or not length.isdecimal() or int(length) > parsed.max_prefixlen:
        return [invalid_value(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
    causes = []
    if isinstance(parsed, ipaddress.IPv4Address) and str(parsed) != address:
        causes.append(invalid_value(path, text, "must not have leading 0s in IP"))
    if len(length) > 1 and length.startswith("0"):
        causes.append(invalid_value(path, text, "must not have leading 0s in prefix length"))
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        causes.append(invalid_value(path, text, "must not have an IPv4-mapped IPv6 address"))
    network = ipaddress.ip_network((parsed, int(length)), strict=False)
    if network.network_address != parsed:
        causes.append(invalid_value(path, text, "must not have bits set beyond the prefix length"))
    return causes


def family_of_cidr(text: str) -> int | None:
    """4 or 6 by the address of a network, None where there is none."""
    parsed = parse_ip(text.partition("/")[0])
    return parsed.version if parsed is not None else None


def unicast_ip(path: str, text: str) -> list[Cause]:
    """An address traffic can be sent to: externalIPs and endpoints (core `validation.ValidateNonSpecialIP`)."""
    return all_invalid(path, text, _not_unicast(text))


@functools.lru_cache(maxsize=8192)
def _not_unicast(text: str) -> tuple[str, ...]:
    parsed = parse_ip(text)
    if parsed is None:
        return ("must be a valid IP address",)
    causes = []
    if parsed.is_unspecified:
        causes.append(f"may not be unspecified ({text})")
    if parsed.is_loopback:
        causes.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        causes.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if any(parsed in network for network in _LINK_LOCAL_MULTICAST if network.version == parsed.version):
        causes.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return tuple(causes)


_LINK_LOCAL_MULTICAST: tuple[Any, ...] = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))
