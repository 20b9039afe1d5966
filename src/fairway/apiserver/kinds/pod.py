"""Pods: defaults with those of the usual admission plugins, what may change, graceful deletion
(kubernetes `pkg/registry/core/pod/strategy.go`, `pkg/apis/core/validation`: ValidatePodUpdate)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fairway.api.quantity import parse_quantity
from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.copies import copy_of
from fairway.apiserver.kinds.pod_diff import spec_difference
from fairway.apiserver.kinds.podspec_defaults import all_containers, fill_pod_spec
from fairway.apiserver.kinds.podspec_validation import validate_pod_spec
from fairway.apiserver.kinds.scheduling_validation import merge_label_keys
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation.field import forbidden

_TOLERATED_S = 300
"""How long a pod stays on a node that is not ready or not reachable (admission plugin DefaultTolerationSeconds)."""

_ONLY_THESE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)

_GATED = {
    "type": "PodScheduled",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
"""The condition of a pod that comes with scheduling gates (`applySchedulingGatedCondition`)."""


class PodStrategy(Strategy):
    returns_deleted = True
    keeps_generation = True
    selectable: ClassVar[Mapping[str, str]] = {
        "spec.nodeName": "spec.nodeName",
        "spec.restartPolicy": "spec.restartPolicy",
        "spec.schedulerName": "spec.schedulerName",
        "spec.serviceAccountName": "spec.serviceAccountName",
        "spec.hostNetwork": "spec.hostNetwork",
        "status.phase": "status.phase",
        "status.podIP": "status.podIP",
        "status.nominatedNodeName": "status.nominatedNodeName",
    }

    def fields(self, obj: Object) -> Mapping[str, str]:
        found = super().fields(obj)
        return {**found, "spec.hostNetwork": found["spec.hostNetwork"] or "false"}

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        fill_pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)

    def prepare_create(self, obj: Object) -> Object:
        made = super().prepare_create(obj)
        spec = made["spec"]
        _tolerate(spec)
        merge_label_keys(spec.get("affinity") or {}, made["metadata"].get("labels") or {})
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        made["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            made["status"]["conditions"] = [dict(_GATED)]
        return made

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        if subresource == "binding":
            # The server's own doing: a node and the condition PodScheduled, no change a client asked for.
            return copy_of(new)
        made = super().prepare_update(new, old, subresource=subresource)
        if old["status"].get("qosClass"):
            made["status"].setdefault("qosClass", old["status"]["qosClass"])
        return made

    def validate_update(self, new: Object, old: Object, *, subresource: str = "") -> list[Cause]:
        return [] if subresource == "binding" else super().validate_update(new, old, subresource=subresource)

    def validate(self, obj: Object) -> list[Cause]:
        return validate_pod_spec(obj["spec"], "spec")

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        if len(new["spec"].get("containers") or []) != len(old["spec"].get("containers") or []):
            return [*causes, forbidden("spec.containers", "pod updates may not add or remove containers")]
        causes += _new_gates(new["spec"], old["spec"])
        allowed = _with_changes_allowed(new["spec"], old["spec"])
        if allowed != old["spec"]:
            # A server dumps both specs as its internal type and shows where they differ.
            causes.append(forbidden("spec", f"{_ONLY_THESE}\n{spec_difference(old['spec'], allowed)}"))
        return causes

    def grace_period_s(self, obj: Object, requested_s: int | None) -> int | None:
        spec, status = obj["spec"], obj.get("status") or {}
        period = requested_s if requested_s is not None else spec.get("terminationGracePeriodSeconds", 30)
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            period = 0
        return int(max(period, 1)) if period < 0 else int(period)


def _tolerate(spec: Object) -> None:
    tolerations = spec.get("tolerations") or []
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_covers(toleration, key) for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_S}
            )
    spec["tolerations"] = tolerations


def _covers(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


def qos_class(spec: Object) -> str:
    """Guaranteed: every container has limits equal to its requests for both; BestEffort: none asks for anything."""
    guaranteed, asks = True, False
    for container in all_containers(spec):
        resources = container.get("resources") or {}
        limits = _compute(resources.get("limits"))
        requests = _compute(resources.get("requests"))
        asks = asks or bool(limits or requests)
        guaranteed = guaranteed and set(limits) == {"cpu", "memory"} and (requests or limits) == limits
    if not asks:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _compute(resources: Mapping[str, str] | None) -> dict[str, Any]:
    quantities = {name: parse_quantity(text) for name, text in (resources or {}).items() if name in ("cpu", "memory")}
    return {name: value for name, value in quantities.items() if value}


def _with_changes_allowed(new: Object, old: Object) -> Object:
    """The new spec with everything put back that may change: what still differs from the old one may not."""
    munged = copy_of(new)
    for field in ("containers", "initContainers"):
        for container, previous in zip(munged.get(field) or [], old.get(field) or [], strict=False):
            container["image"] = previous.get("image")
    if new.get("activeDeadlineSeconds") is not None:
        _put_back(munged, old, "activeDeadlineSeconds")
    if all(toleration in (new.get("tolerations") or []) for toleration in old.get("tolerations") or []):
        _put_back(munged, old, "tolerations")
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        _put_back(munged, old, "terminationGracePeriodSeconds")
    # Gates that come are told apart, by name.
    _put_back(munged, old, "schedulingGates")
    return munged


def _new_gates(new: Object, old: Object) -> list[Cause]:
    """Scheduling gates may go, and none may come."""
    had, now = ([(gate or {}).get("name", "") for gate in spec.get("schedulingGates") or []] for spec in (old, new))
    return [
        forbidden("spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate '{name}'")
        for name in now
        if name not in had
    ]


def _put_back(munged: Object, old: Object, field: str) -> None:
    if field in old:
        munged[field] = old[field]
    else:
        munged.pop(field, None)
