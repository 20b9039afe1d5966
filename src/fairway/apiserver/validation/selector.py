"""Label selectors of specs: matchLabels and matchExpressions (apimachinery `meta/v1/validation`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import all_invalid, forbidden, invalid_value, required


def validate_label_selector(selector: Object, path: str) -> Iterator[Cause]:
    yield from names.labels(f"{path}.matchLabels", selector.get("matchLabels") or {})
    for index, term in enumerate(selector.get("matchExpressions") or []):
        here = f"{path}.matchExpressions[{index}]"
        values = term.get("values") or []
        match term.get("operator"):
            case "In" | "NotIn":
                if not values:
                    yield required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            case "Exists" | "DoesNotExist":
                if values:
                    detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    yield forbidden(f"{here}.values", detail)
            case operator:
                yield invalid_value(f"{here}.operator", operator, "not a valid selector operator")
        yield from all_invalid(f"{here}.key", term["key"], names.qualified_name(term["key"]))
        for place, value in enumerate(values):
            yield from all_invalid(f"{here}.values[{place}]", value, names.label_value(value))


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a set of labels is selected; an empty selector selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_matches_term(term, labels) for term in selector.get("matchExpressions") or [])


def _matches_term(term: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(term["key"]), term.get("values") or []
    match term.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
