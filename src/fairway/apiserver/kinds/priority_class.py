"""PriorityClasses (kubernetes `pkg/apis/scheduling/{v1,validation}`)."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.priorities import DEFAULT_POLICY, SYSTEM_CLASSES
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation.field import forbidden, immutable, not_supported

HIGHEST_VALUE = 1_000_000_000
"""Of a class that people make (HighestUserDefinablePriority)."""
_SYSTEM = "system-"


class PriorityClassStrategy(Strategy):
    def fill(self, obj: Object) -> None:
        obj.setdefault("preemptionPolicy", DEFAULT_POLICY)

    def validate(self, obj: Object) -> list[Cause]:
        return [*_value(obj), *_policy(obj)]

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        changed: list[Cause] = []
        if new.get("value") != old.get("value"):
            changed.append(forbidden("value", "may not be changed in an update."))
        return changed + immutable("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


def _value(obj: Object) -> Iterator[Cause]:
    name, value = obj["metadata"].get("name") or "", obj.get("value") or 0
    if name.startswith(_SYSTEM):
        if name not in SYSTEM_CLASSES or value != SYSTEM_CLASSES[name][0]:
            detail = f"priority class names with '{_SYSTEM}' prefix are reserved for system use only. error: "
            yield forbidden("metadata.name", f"{detail}{name} is not a known system priority class")
    elif value > HIGHEST_VALUE:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_VALUE}")


def _policy(obj: Object) -> Iterator[Cause]:
    policy = obj.get("preemptionPolicy")
    if policy is not None and policy not in (DEFAULT_POLICY, "Never"):
        yield not_supported("preemptionPolicy", policy, (DEFAULT_POLICY, "Never"))
