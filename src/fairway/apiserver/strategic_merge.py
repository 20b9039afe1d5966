"""Strategic merge patch: Kubernetes' own, where lists of objects are merged by a key the schema names.

Directives: `$patch` (replace, delete), `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`, `$retainKeys`.
Behaviour: apimachinery `util/strategicpatch/patch.go` as the server calls it (parallel lists are merged, nulls that
match nothing are ignored). Nothing given is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fairway.api.types import Object
from fairway.apiserver.schema.model import PatchRule, Shape

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"

Rules = Callable[[str, str], PatchRule | None]
"""How a field of a type is merged: `Strategy.patch_rule`."""


class StrategicMergeError(Exception):
    """A directive is malformed, or a list's element lacks its merge key; the text is the real server's."""


def strategic_merge(document: Object, patch: Object, type_name: str, rules: Rules) -> Object:
    """The document of a type with a patch merged in. Raises StrategicMergeError."""
    return _Merge(rules).objects(copy.deepcopy(document), copy.deepcopy(patch), type_name)


class _Merge:
    """Merges into the first argument, which is ours to change, and takes parts of the second."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def objects(self, original: Object, patch: Object, type_name: str) -> Object:
        if PATCH in patch:
            return _replace_or_delete(patch)
        _retain_keys(original, patch)
        for directive in [name for name in patch if name.startswith(ORDER)]:
            self._ordered_list(original, patch, directive, type_name)
        for name, value in patch.items():
            if name.startswith(DELETE_FROM):
                field = name.removeprefix(DELETE_FROM)
                if not isinstance(value, list):
                    raise StrategicMergeError("invalid patch format of primitive list")
                if isinstance(original.get(field), list):
                    original[field] = [item for item in original[field] if item not in value]
            elif value is None:
                original.pop(name, None)
            else:
                original[name] = self._field(original.get(name), value, self._rules(type_name, name))
        return original

    def _field(self, original: Any, value: Any, rule: PatchRule | None) -> Any:
        if isinstance(original, dict) and isinstance(value, dict):
            return self._child_object(original, value, rule)
        if isinstance(original, list) and isinstance(value, list):
            return self._list(original, value, rule)
        return _without_directives(value)

    def _child_object(self, original: Object, patch: Object, rule: PatchRule | None) -> Object:
        if rule is None:
            return self.objects(original, patch, "")
        if rule.shape is Shape.MAP:
            return self._map(original, patch, rule)
        return self.objects(original, patch, rule.element)

    def _map(self, original: Object, patch: Object, rule: PatchRule) -> Object:
        """A map's values are of one type; its keys are data, so no rule goes by them."""
        if PATCH in patch:
            return _replace_or_delete(patch)
        for name, value in patch.items():
            if value is None:
                original.pop(name, None)
            elif isinstance(original.get(name), dict) and isinstance(value, dict):
                original[name] = self.objects(original[name], value, rule.element)
            else:
                original[name] = _without_directives(value)
        return original

    def _list(self, original: list[Any], patch: list[Any], rule: PatchRule | None) -> list[Any]:
        if rule is None or not rule.merge:
            return [_without_directives(item) for item in patch]
        merged, order = self._merged(original, patch, rule)
        return merged if order is None else _arranged(merged, order, original, rule.merge_key)

    def _ordered_list(self, original: Object, patch: Object, directive: str, type_name: str) -> None:
        """Merge the list a `$setElementOrder/LIST` is about, then put it into that order."""
        order, field = patch.pop(directive), directive.removeprefix(ORDER)
        if not isinstance(order, list):
            raise StrategicMergeError(f"expected a list for {directive}, got {order!r}")
        deleted = patch.pop(DELETE_FROM + field, None)
        before, change = original.get(field), patch.pop(field, None)
        rule = self._rules(type_name, field)
        if rule is None or not (isinstance(before, list) or isinstance(change, list)):
            return
        if not rule.merge:
            original[field] = self._list(before or [], change, rule) if isinstance(change, list) else before
            return
        merged = list(before) if isinstance(before, list) else []
        if isinstance(change, list):
            _check_order(change, order, rule.merge_key)
            merged, _ = self._merged(merged, change, rule)
        if isinstance(deleted, list):
            merged = [item for item in merged if item not in deleted]
        original[field] = _arranged(merged, order, before if isinstance(before, list) else [], rule.merge_key)

    def _merged(self, original: list[Any], patch: list[Any], rule: PatchRule) -> tuple[list[Any], list[Any] | None]:
        """The merged list, and the patch's elements that set its order (None: it is in order)."""
        if not all(isinstance(item, dict) for item in [*original, *patch]):
            if any(isinstance(item, dict) for item in [*original, *patch]):
                raise StrategicMergeError("list element types are not identical")
            return list({_identity(item, ""): item for item in [*original, *patch]}.values()), patch
        if not patch:
            return original, None
        key = rule.merge_key
        if not key:
            raise StrategicMergeError(f"cannot merge lists without merge key for {rule.element}")
        # A list of its own: the order of `original` is looked at when the elements are arranged.
        merged = list(original)
        elements, replace = _list_directives(merged, patch, key)
        if replace:
            return [_without_directives(item) for item in elements], None
        for element in elements:
            if key not in element:
                raise StrategicMergeError(f"map: {element!r} does not contain declared merge key: {key}")
            at = _find(merged, element[key], key)
            if at is None:
                merged.append(_without_directives(element))
            else:
                merged[at] = self.objects(merged[at], dict(element), rule.element)
        return merged, elements


def _replace_or_delete(patch: Object) -> Object:
    directive = patch[PATCH]
    if directive == "replace":
        return {name: _without_directives(value) for name, value in patch.items() if name != PATCH}
    if directive == "delete":
        return {}
    raise StrategicMergeError(f"unknown patch type: {directive}")


def _retain_keys(original: Object, patch: Object) -> None:
    """`$retainKeys`: fields it does not list are removed, and the patch may set no others."""
    if RETAIN_KEYS not in patch:
        return
    keys = patch.pop(RETAIN_KEYS)
    fields = [name for name in patch if not name.startswith("$")]
    if not isinstance(keys, list) or any(name not in keys for name in fields):
        raise StrategicMergeError("invalid patch format of retainKeys")
    for name in [name for name in original if name not in keys]:
        del original[name]


def _list_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], bool]:
    """Carry out `$patch: delete` of elements; the elements left, and whether they replace the whole list."""
    elements: list[Any] = []
    replace = False
    for item in patch:
        directive = item.get(PATCH)
        if directive is None:
            elements.append(item)
        elif directive == "delete":
            if key not in item:
                raise StrategicMergeError(f"map: {item!r} does not contain declared merge key: {key}")
            original[:] = [element for element in original if element.get(key) != item[key]]
        elif directive == "replace":
            replace = True
            rest = {name: value for name, value in item.items() if name != PATCH}
            elements += [rest] if rest else []
        elif directive == "merge":
            raise StrategicMergeError("merging lists cannot yet be specified in the patch")
        else:
            raise StrategicMergeError(f"unknown patch type: {directive}")
    return elements, replace


def _without_directives(value: Any) -> Any:
    """A new value as it is stored: no directives, no nulls, no elements the patch only wanted deleted."""
    if isinstance(value, dict):
        return {
            name: _without_directives(child)
            for name, child in value.items()
            if child is not None and name not in (PATCH, RETAIN_KEYS) and not name.startswith((ORDER, DELETE_FROM))
        }
    if isinstance(value, list):
        kept = (item for item in value if not (isinstance(item, dict) and item.get(PATCH) == "delete"))
        return [_without_directives(item) for item in kept]
    return value


def _find(items: Sequence[Any], value: Any, key: str) -> int | None:
    return next((at for at, item in enumerate(items) if item.get(key) == value), None)


def _identity(item: Any, key: str) -> Any:
    """What tells an element from its neighbours: the value of its merge key, or the scalar itself."""
    value = item.get(key) if isinstance(item, dict) else item
    if isinstance(value, (dict, list)):
        raise StrategicMergeError("lists of lists, and merge keys that are no scalars, are not supported")
    return value


def _positions(items: Iterable[Any], key: str) -> dict[Any, int]:
    positions: dict[Any, int] = {}
    for at, item in enumerate(items):
        positions.setdefault(_identity(item, key), at)
    return positions


def _check_order(change: Sequence[Any], order: Sequence[Any], key: str) -> None:
    """Every element the patch sets must stand in the order it gives."""
    known = _positions(order, key)
    present = [item for item in change if not (isinstance(item, dict) and PATCH in item)]
    if any(_identity(item, key) not in known for item in present):
        raise StrategicMergeError("the order in patch list doesn't match $setElementOrder list")


def _arranged(merged: Sequence[Any], order: Sequence[Any], before: Sequence[Any], key: str) -> list[Any]:
    """The elements named in `order` in that order; the others keep their order of `before` and are laid in between.

    An element of the server's goes before the patch's next one where both stood in `before` and it stood first;
    where the two cannot be compared, the patch's goes first.
    """
    wanted, live = _positions(order, key), _positions(before, key)
    ours = sorted(
        (item for item in merged if _identity(item, key) in wanted), key=lambda item: wanted[_identity(item, key)]
    )
    theirs = sorted(
        (item for item in merged if _identity(item, key) not in wanted),
        key=lambda item: live.get(_identity(item, key), len(live)),
    )
    arranged: list[Any] = []
    while ours and theirs:
        left, right = live.get(_identity(theirs[0], key)), live.get(_identity(ours[0], key))
        first = theirs if left is not None and right is not None and left < right else ours
        arranged.append(first.pop(0))
    return [*arranged, *ours, *theirs]
