"""ServiceCIDRs and IPAddresses (kubernetes `pkg/apis/networking/validation`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import all_invalid, immutable, invalid_value, required

_CIDRS = "spec.cidrs"
_PARENT = "spec.parentRef"
_ONE_OF_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"


class ServiceCIDRStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        given = _cidrs(obj)
        shown = {"CIDRs": given}
        if not given:
            return [required(_CIDRS, "at least one CIDR required")]
        if len(given) > 2:
            return [invalid_value(_CIDRS, shown, "may only hold up to 2 values")]
        if len(given) == 2 and {names.family_of_cidr(text) for text in given} != {4, 6}:
            return [invalid_value(_CIDRS, shown, _ONE_OF_EACH)]
        return [cause for index, text in enumerate(given) for cause in names.cidr(f"{_CIDRS}[{index}]", text)]

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        """A second family may be added, nothing else be changed."""
        now, before = _cidrs(new), _cidrs(old)
        if len(now) != len(before) and (len(before), len(now)) != (1, 2):
            return immutable(_CIDRS, now, before)
        kept = zip(now, before, strict=False)
        causes = [one for index, (a, b) in enumerate(kept) for one in immutable(f"{_CIDRS}[{index}]", a, b)]
        return causes if len(now) == len(before) else causes + self.validate(new)


def _cidrs(obj: Object) -> list[str]:
    return list((obj.get("spec") or {}).get("cidrs") or ())


def address_name(name: str, *, prefix: bool = False) -> list[str]:
    """What is wrong with the name of an IPAddress: it is the address, in its one spelling."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return [f'ParseAddr("{name}"): unable to parse IP']
    return [] if str(address) == name else ["must be a canonical format IP address"]


class IPAddressStrategy(Strategy):
    name_rule = staticmethod(address_name)

    def validate(self, obj: Object) -> list[Cause]:
        parent = obj["spec"].get("parentRef")
        return [required(_PARENT)] if parent is None else list(_parent(parent))

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return immutable(_PARENT, new["spec"].get("parentRef"), old["spec"].get("parentRef"))


def _parent(parent: Object) -> Iterator[Cause]:
    group = parent.get("group") or ""
    if group:
        yield from all_invalid(f"{_PARENT}.group", group, names.dns_subdomain(group))
    for field in ("resource", "name"):
        if not parent.get(field):
            yield required(f"{_PARENT}.{field}")
    for field in ("resource", "name", "namespace"):
        text = parent.get(field) or ""
        yield from all_invalid(f"{_PARENT}.{field}", text, names.path_segment(text) if text else ())
