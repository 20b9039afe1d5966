"""Fields of Kubernetes objects that controllers decide by: owners, selectors, conditions, times. Pure.

Objects are the informers' own dicts and are shared: nothing here, and no controller, changes one in place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fairway.api.resources import Resource
from fairway.api.types import Object


def meta(obj: Object) -> Mapping[str, Any]:
    """`metadata`, empty where there is none."""
    return obj.get("metadata") or {}


def spec(obj: Object) -> Mapping[str, Any]:
    """`spec`, empty where there is none."""
    return obj.get("spec") or {}


def status(obj: Object) -> Mapping[str, Any]:
    """`status`, empty where there is none."""
    return obj.get("status") or {}


def uid(obj: Object) -> str:
    return str(meta(obj).get("uid") or "")


def name(obj: Object) -> str:
    return str(meta(obj).get("name") or "")


def namespace(obj: Object) -> str:
    return str(meta(obj).get("namespace") or "")


def labels(obj: Object) -> Mapping[str, str]:
    return meta(obj).get("labels") or {}


def annotations_of(obj: Object) -> Mapping[str, str]:
    return meta(obj).get("annotations") or {}


def version(obj: Object) -> int:
    """The resourceVersion as a number; 0 where it is none. Versions of one resource are comparable (KEP-5504)."""
    text = str(meta(obj).get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def is_terminating(obj: Object) -> bool:
    return bool(meta(obj).get("deletionTimestamp"))


def created(obj: Object) -> tuple[datetime, str]:
    """Sorts objects oldest first, those of one second by name."""
    return parse_time(meta(obj).get("creationTimestamp")) or _EPOCH, name(obj)


def changed(obj: Object) -> Object:
    """A deep copy to change."""
    return copy.deepcopy(obj)


def without_zeros(fields: Mapping[str, Any]) -> Object:
    """The fields that say something: absent, 0 and empty mean the same in a status."""
    return {field: value for field, value in fields.items() if value}


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time, with or without a fraction; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def format_time(moment: datetime) -> str:
    """As metav1.Time: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """As metav1.MicroTime: six digits, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of that type in `status.conditions`."""
    return find_condition(status(obj).get("conditions") or (), kind)


def find_condition(conditions: Iterable[Object], kind: str) -> Object | None:
    return next((one for one in conditions if one.get("type") == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def matches_labels(wanted: Mapping[str, str], having: Mapping[str, str]) -> bool:
    """Whether all labels of a map selector (Service, nodeSelector) are had; an empty one matches everything."""
    return all(having.get(key) == value for key, value in wanted.items())


def selects(selector: Mapping[str, Any] | None, having: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; None matches nothing, an empty one everything (`meta/v1/helpers.go`)."""
    if selector is None:
        return False
    return matches_labels(selector.get("matchLabels") or {}, having) and all(
        meets(requirement, having) for requirement in selector.get("matchExpressions") or ()
    )


def meets(requirement: Mapping[str, Any], having: Mapping[str, str]) -> bool:
    """Whether one {key, operator, values} holds; NotIn also holds where the key is absent (labels `selector.go`)."""
    key, values = requirement.get("key", ""), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return key in having and having[key] in values
        case "NotIn":
            return having.get(key) not in values
        case "Exists":
            return key in having
        case "DoesNotExist":
            return key not in having
        case "Gt":
            return _compares(having.get(key), values, greater=True)
        case "Lt":
            return _compares(having.get(key), values, greater=False)
    return False


def _compares(value: str | None, values: Iterable[str], *, greater: bool) -> bool:
    try:
        left, right = int(value or ""), int(next(iter(values), ""))
    except ValueError:
        return False
    return left > right if greater else left < right


def owners(obj: Object) -> list[Object]:
    return meta(obj).get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The owner reference whose `controller` is true; an object has at most one."""
    return next((owner for owner in owners(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    controller = controller_of(obj)
    return controller is not None and controller.get("uid") == uid(owner)


def controller_reference(owner: Object, resource: Resource) -> Object:
    """As `metav1.NewControllerRef` makes it."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }
