"""Resource quantities: "100m", "1Gi", "2e3" (apimachinery `api/resource/quantity.go`, `suffix.go`)."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal

_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(|[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_NANO = Decimal("1e-9")

MALFORMED = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
"""What a server answers to any malformed quantity."""


def parse_quantity(text: str) -> Decimal:
    """The value, rounded up (away from zero) to a billionth. Raises ValueError(MALFORMED)."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(MALFORMED)
    sign, digits, suffix = found.groups()
    value = Decimal(sign + digits)
    if suffix in _BINARY:
        value *= 1024 ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        value = value.scaleb(_DECIMAL[suffix])
    else:
        value = value.scaleb(int(suffix[1:]))
    return value.quantize(_NANO, rounding=ROUND_UP)


def canonical_quantity(text: str) -> str:
    """The form a server stores: a whole number with the largest suffix of the family written ("1024Mi" is "1Gi")."""
    value = parse_quantity(text)
    match = _FORM.fullmatch(text)
    suffix = match.group(3) if match is not None else ""
    if value == 0:
        return "0"
    if suffix in _BINARY and abs(value) >= 1024 and value == value.to_integral_value():
        return _binary(int(value))
    exponent = 18
    while exponent > -9 and value.scaleb(-exponent) != value.scaleb(-exponent).to_integral_value():
        exponent -= 3
    number = int(value.scaleb(-exponent))
    if suffix[:1] in ("e", "E") and suffix not in ("E", "Ei"):
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"


def _binary(value: int) -> str:
    power = 0
    while power < 6 and value % 1024 == 0:
        value //= 1024
        power += 1
    return f"{value}{['', *_BINARY][power]}"
