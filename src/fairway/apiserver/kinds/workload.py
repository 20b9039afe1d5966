"""ControllerRevisions, DaemonSets, Deployments and ReplicaSets.

Rules: kubernetes `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.podspec_defaults import fill_pod_spec
from fairway.apiserver.kinds.podspec_validation import validate_pod_spec
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    forbidden,
    immutable,
    invalid_value,
    non_negative,
    not_supported,
    one_of,
    required,
)
from fairway.apiserver.validation.selector import matches, validate_label_selector


class _WorkloadStrategy(Strategy):
    """A template of pods, a selector of them and a number."""

    keeps_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        fill_pod_spec(spec["template"]["spec"])

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        changed = immutable("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))
        return self.validate(new) + changed


class ControllerRevisionStrategy(Strategy):
    """A state of somebody's, with a number: `ValidateControllerRevision`."""

    def validate(self, obj: Object) -> list[Cause]:
        missing = [required("data", "data is mandatory")] if obj.get("data") is None else []
        return missing + non_negative("revision", obj.get("revision") or 0)

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return self.validate(new) + immutable("data", new.get("data"), old.get("data"))


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""How often the template has changed, and once: a field of the internal type that v1 shows as an annotation
(`pkg/apis/apps/v1/conversion.go`)."""


class DaemonSetStrategy(_WorkloadStrategy):
    def prepare_create(self, obj: Object) -> Object:
        made = super().prepare_create(obj)
        _note_template_generation(made, max(1, _template_generation(obj)))
        return made

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        made = super().prepare_update(new, old, subresource=subresource)
        changed = made["spec"]["template"] != old["spec"]["template"]
        _note_template_generation(made, _template_generation(old) + changed)
        return made

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        fill_pod_spec(spec["template"]["spec"])
        strategy = spec["updateStrategy"]
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        return [
            *_selector(spec, "daemonset"),
            *_template(spec, "DaemonSet"),
            *non_negative("spec.minReadySeconds", spec.get("minReadySeconds") or 0),
            *_daemon_update(spec["updateStrategy"]),
            *non_negative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"]),
        ]


class DeploymentStrategy(_WorkloadStrategy):
    def fill(self, obj: Object) -> None:
        super().fill(obj)
        spec = obj["spec"]
        strategy = spec["strategy"]
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes = [
            *non_negative("spec.replicas", spec["replicas"]),
            *_selector(spec, "deployment"),
            *_template(spec),
            *_rollout(spec["strategy"]),
        ]
        ready, deadline = spec.get("minReadySeconds") or 0, spec["progressDeadlineSeconds"]
        causes += non_negative("spec.minReadySeconds", ready)
        causes += non_negative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"])
        causes += non_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= ready:
            detail = "must be greater than minReadySeconds"
            causes.append(invalid_value("spec.progressDeadlineSeconds", deadline, detail))
        return causes


class ReplicaSetStrategy(_WorkloadStrategy):
    selectable: ClassVar[Mapping[str, str]] = {"status.replicas": "status.replicas"}

    def fields(self, obj: Object) -> Mapping[str, str]:
        found = super().fields(obj)
        return {**found, "status.replicas": found["status.replicas"] or "0"}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        return [
            *non_negative("spec.replicas", spec["replicas"]),
            *non_negative("spec.minReadySeconds", spec.get("minReadySeconds") or 0),
            *_selector(spec, "deployment"),
            *_template(spec),
        ]


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0


def _note_template_generation(obj: Object, number: int) -> None:
    """No client decides it, whatever it sends."""
    annotations = obj["metadata"].get("annotations") or {}
    obj["metadata"]["annotations"] = {**annotations, _TEMPLATE_GENERATION: str(number)}


def _selector(spec: Object, what: str) -> Iterator[Cause]:
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        return
    yield from validate_label_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid_value("spec.selector", selector, f"empty selector is invalid for {what}")


def _template(spec: Object, what: str = "ReplicaSet") -> Iterator[Cause]:
    template, path = spec["template"], "spec.template"
    labels = template["metadata"].get("labels") or {}
    if spec.get("selector") and not matches(spec["selector"], labels):
        # Without labels Go shows a nil map.
        detail = "`selector` does not match template `labels`"
        yield invalid_value(f"{path}.metadata.labels", labels or None, detail)
    yield from names.labels(f"{path}.labels", labels)
    yield from validate_pod_spec(template["spec"], f"{path}.spec")
    if template["spec"].get("restartPolicy") != "Always":
        yield not_supported(f"{path}.spec.restartPolicy", template["spec"].get("restartPolicy"), ("Always",))
    if template["spec"].get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {what} is not Supported")


def _rollout(strategy: Object) -> Iterator[Cause]:
    path = "spec.strategy"
    yield from one_of(f"{path}.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        yield forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    if strategy.get("type") != "RollingUpdate":
        return
    for field in ("maxUnavailable", "maxSurge"):
        yield from _number_or_percent(f"{path}.rollingUpdate.{field}", (rolling or {}).get(field, 0))
    unavailable, surge = (_as_number((rolling or {}).get(field, 0)) for field in ("maxUnavailable", "maxSurge"))
    if unavailable == surge == 0:
        detail = "may not be 0 when `maxSurge` is 0"
        yield invalid_value(f"{path}.rollingUpdate.maxUnavailable", (rolling or {}).get("maxUnavailable", 0), detail)
    if str((rolling or {}).get("maxUnavailable", "")).endswith("%") and unavailable > 100:
        yield invalid_value(
            f"{path}.rollingUpdate.maxUnavailable", (rolling or {})["maxUnavailable"], "must not be greater than 100%"
        )


def _daemon_update(strategy: Object) -> Iterator[Cause]:
    """ValidateDaemonSetUpdateStrategy: pods are missing for a while, or there are two, but not both."""
    path = "spec.updateStrategy"
    yield from one_of(f"{path}.type", strategy.get("type"), ("RollingUpdate", "OnDelete"))
    if strategy.get("type") != "RollingUpdate":
        return
    rolling, here = strategy.get("rollingUpdate") or {}, f"{path}.rollingUpdate"
    for field in ("maxUnavailable", "maxSurge"):
        yield from _number_or_percent(f"{here}.{field}", rolling.get(field, 0))
    unavailable, surge = (_as_number(rolling.get(field, 0)) for field in ("maxUnavailable", "maxSurge"))
    if unavailable and surge:
        yield invalid_value(f"{here}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")
    elif not unavailable and not surge:
        yield required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _number_or_percent(path: str, value: int | str) -> Iterator[Cause]:
    if isinstance(value, int):
        yield from non_negative(path, value)
    elif not value.removesuffix("%").isdecimal() or not value.endswith("%"):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
        yield invalid_value(path, value, detail)


def _as_number(value: int | str) -> int:
    text = str(value).removesuffix("%")
    return int(text) if text.lstrip("-").isdecimal() else -1
