"""What is wrong with the parts of a PodSpec that say where the pod runs (kubernetes `pkg/apis/core/validation`).

validateAffinity, validateTopologySpreadConstraints, ValidateTolerations; the paths of errors are those of the real
server, also where they name no field ("namespace", "[0][1]").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from fairway.apiserver.validation.selector import validate_label_selector

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SPREAD_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_NODE_POLICIES = ("Honor", "Ignore")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"


def validate_affinity(affinity: Object, path: str) -> Iterator[Cause]:
    """affinity: that of a PodSpec; path: where it stands."""
    if affinity.get("nodeAffinity"):
        yield from _node_affinity(affinity["nodeAffinity"], f"{path}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        written = affinity.get(kind) or {}
        for index, term in enumerate(written.get(_REQUIRED) or []):
            yield from _pod_term(term, f"{path}.{kind}.{_REQUIRED}[{index}]")
        for index, weighted in enumerate(written.get(_PREFERRED) or []):
            here = f"{path}.{kind}.{_PREFERRED}[{index}]"
            yield from _weight(weighted, here)
            yield from _pod_term(weighted["podAffinityTerm"], f"{here}.podAffinityTerm")


def _node_affinity(affinity: Object, path: str) -> Iterator[Cause]:
    selector = affinity.get(_REQUIRED)
    if selector is not None:
        here = f"{path}.{_REQUIRED}.nodeSelectorTerms"
        if not selector.get("nodeSelectorTerms"):
            yield required(here, "must have at least one node selector term")
        for index, term in enumerate(selector.get("nodeSelectorTerms") or []):
            yield from _node_term(term, f"{here}[{index}]", values=True)
    for index, weighted in enumerate(affinity.get(_PREFERRED) or []):
        here = f"{path}.{_PREFERRED}[{index}]"
        yield from _weight(weighted, here)
        yield from _node_term(weighted["preference"], f"{here}.preference", values=False)


def _weight(weighted: Object, path: str) -> Iterator[Cause]:
    if not 1 <= weighted["weight"] <= 100:
        yield invalid_value(f"{path}.weight", weighted["weight"], "must be in the range 1-100")


def _node_term(term: Object, path: str, *, values: bool) -> Iterator[Cause]:
    """values: whether values must be such that a label can have them; a mere wish may go beyond."""
    for index, wanted in enumerate(term.get("matchExpressions") or []):
        yield from _node_requirement(wanted, f"{path}.matchExpressions[{index}]", values=values)
    for index, wanted in enumerate(term.get("matchFields") or []):
        yield from _node_field(wanted, f"{path}.matchFields[{index}]")


def _node_requirement(wanted: Object, path: str, *, values: bool) -> Iterator[Cause]:
    given = wanted.get("values") or []
    match wanted.get("operator"):
        case "In" | "NotIn":
            if not given:
                yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if given:
                yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case "Gt" | "Lt":
            if len(given) != 1:
                yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        case operator:
            yield invalid_value(f"{path}.operator", operator or "", "not a valid selector operator")
    yield from all_invalid(f"{path}.key", wanted["key"], names.qualified_name(wanted["key"]))
    for index, value in enumerate(given if values else []):
        yield from all_invalid(f"{path}.values[{index}]", value, names.label_value(value))


def _node_field(wanted: Object, path: str) -> Iterator[Cause]:
    """The only field a node is selected by is its name."""
    given, operator = wanted.get("values") or [], wanted.get("operator") or ""
    if operator not in ("In", "NotIn"):
        yield invalid_value(f"{path}.operator", operator, "not a valid selector operator")
    elif len(given) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{path}.values", detail)
    if wanted["key"] != "metadata.name":
        yield invalid_value(f"{path}.key", wanted["key"], "not a valid field selector key")
        return
    for index, value in enumerate(given):
        yield from all_invalid(f"{path}.values[{index}]", value, names.dns_subdomain(value))


def _pod_term(term: Object, path: str) -> Iterator[Cause]:
    for field in ("labelSelector", "namespaceSelector"):
        yield from validate_label_selector(term.get(field) or {}, f"{path}.{field}")
    for name in term.get("namespaces") or []:
        yield from all_invalid(f"{path}.namespace", name, names.dns_label(name))
    yield from _label_keys(term, path)
    if not term["topologyKey"]:
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from all_invalid(f"{path}.topologyKey", term["topologyKey"], names.qualified_name(term["topologyKey"]))


def _label_keys(term: Object, path: str) -> Iterator[Cause]:
    """validateMatchLabelKeysAndMismatchLabelKeys."""
    matching, selector = term.get("matchLabelKeys") or [], term.get("labelSelector")
    differing = term.get("mismatchLabelKeys") or []
    for field, keys in (("matchLabelKeys", matching), ("mismatchLabelKeys", differing)):
        if keys and selector is None:
            yield forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
        for index, key in enumerate(keys if selector is not None else []):
            yield from all_invalid(f"{path}.{field}[{index}]", key, names.qualified_name(key))
    seen = set((selector or {}).get("matchLabels") or {})
    for one in (selector or {}).get("matchExpressions") or []:
        # One of the two is what the server made of the key, so the other is the author's.
        if one["key"] in matching and one["key"] in seen:
            yield invalid_value(f"{path}[{matching.index(one['key'])}]", one["key"], _IN_BOTH)
        seen.add(one["key"])
    for index, key in enumerate(matching):
        if key in differing:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid_value(f"{path}.matchLabelKeys[{index}]", key, detail)


def merge_label_keys(affinity: Object, labels: Mapping[str, str]) -> None:
    """Writes into the selectors of a pod's affinity what its label keys mean for this very pod (KEP-3633)."""
    for kind in ("podAffinity", "podAntiAffinity"):
        written = affinity.get(kind) or {}
        preferred = [weighted["podAffinityTerm"] for weighted in written.get(_PREFERRED) or []]
        for term in [*(written.get(_REQUIRED) or []), *preferred]:
            made = [
                {"key": key, "operator": operator, "values": [labels[key]]}
                for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
                for key in term.get(field) or []
                if key in labels
            ]
            if made and term.get("labelSelector") is not None:
                selector = term["labelSelector"]
                selector["matchExpressions"] = [*(selector.get("matchExpressions") or []), *made]


def validate_spread(constraints: Sequence[Object], path: str) -> Iterator[Cause]:
    """constraints: a PodSpec's `topologySpreadConstraints`; path: where they stand."""
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        key, action = constraint["topologyKey"], constraint["whenUnsatisfiable"]
        if constraint["maxSkew"] <= 0:
            yield invalid_value(f"{here}.maxSkew", constraint["maxSkew"], "must be greater than zero")
        if not key:
            yield required(f"{here}.topologyKey", "can not be empty")
        if action not in _SPREAD_ACTIONS:
            yield not_supported(f"{here}.whenUnsatisfiable", action, _SPREAD_ACTIONS)
        if any((one["topologyKey"], one["whenUnsatisfiable"]) == (key, action) for one in constraints[index + 1 :]):
            yield duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        yield from _min_domains(constraint, f"{here}.minDomains")
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(field) is not None and constraint[field] not in _NODE_POLICIES:
                yield not_supported(f"{here}.{field}", constraint[field], _NODE_POLICIES)
        yield from _spread_keys(constraint, f"{here}.matchLabelKeys")
        yield from validate_label_selector(constraint.get("labelSelector") or {}, f"{here}.labelSelector")


def _min_domains(constraint: Object, path: str) -> Iterator[Cause]:
    domains, action = constraint.get("minDomains"), constraint["whenUnsatisfiable"]
    if domains is None:
        return
    if domains <= 0:
        yield invalid_value(path, domains, "must be greater than zero")
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield invalid_value(path, domains, detail)


def _spread_keys(constraint: Object, path: str) -> Iterator[Cause]:
    keys, selector = constraint.get("matchLabelKeys") or [], constraint.get("labelSelector")
    if keys and selector is None:
        yield forbidden(path, "must not be specified when labelSelector is not set")
    selected = set((selector or {}).get("matchLabels") or {})
    selected |= {one["key"] for one in (selector or {}).get("matchExpressions") or []}
    for index, key in enumerate(keys):
        yield from all_invalid(f"{path}[{index}]", key, names.qualified_name(key))
        if key in selected:
            yield invalid_value(f"{path}[{index}]", key, _IN_BOTH)


def validate_tolerations(tolerations: Sequence[Object], path: str) -> Iterator[Cause]:
    """tolerations: a PodSpec's; path: where they stand."""
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        key, operator, effect = (toleration.get(field) or "" for field in ("key", "operator", "effect"))
        if key:
            yield from all_invalid(f"{here}.key", key, names.qualified_name(key))
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid_value(f"{here}.operator", operator, detail)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid_value(f"{here}.effect", effect, detail)
        yield from _toleration_value(toleration, operator, f"{here}.operator")
        if effect and effect not in _EFFECTS:
            yield not_supported(f"{here}.effect", effect, _EFFECTS)


def _toleration_value(toleration: Object, operator: str, path: str) -> Iterator[Cause]:
    value = toleration.get("value") or ""
    match operator:
        case "" | "Equal":
            wrong = names.label_value(value)
            if wrong:
                yield invalid_value(path, value, ";".join(wrong))
        case "Exists":
            if value:
                yield invalid_value(path, toleration, "value must be empty when `operator` is 'Exists'")
        case _:
            yield not_supported(path, operator, ("Equal", "Exists"))
