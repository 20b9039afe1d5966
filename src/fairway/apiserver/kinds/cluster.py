"""Namespaces, Nodes, Events and Leases (kubernetes `pkg/registry/core/{namespace,node,event}`,
`pkg/registry/coordination/lease`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.copies import copy_of
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import forbidden, invalid_value, non_negative

NAMESPACE_FINALIZER = "kubernetes"
"""Holds a deleted namespace until everything in it is gone."""

_NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    name_rule = staticmethod(names.dns_label)
    selectable: ClassVar[Mapping[str, str]] = {"name": "metadata.name", "status.phase": "status.phase"}

    def fill(self, obj: Object) -> None:
        name = obj["metadata"].get("name")
        if name:
            obj["metadata"]["labels"] = {**(obj["metadata"].get("labels") or {}), _NAME_LABEL: name}

    def prepare_create(self, obj: Object) -> Object:
        made = super().prepare_create(obj)
        # Of a name that was generated the defaults did not know.
        self.fill(made)
        finalizers = made["spec"].get("finalizers") or []
        if NAMESPACE_FINALIZER not in finalizers:
            made["spec"]["finalizers"] = [*finalizers, NAMESPACE_FINALIZER]
        made["status"] = {"phase": "Active"}
        return made

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        made = super().prepare_update(new, old, subresource=subresource)
        if subresource == "finalize":
            made["status"] = copy_of(old.get("status") or {})
        else:
            made["spec"] = copy_of(old.get("spec") or {})
        return made


class NodeStrategy(Strategy):
    keeps_status_on_create = True
    selectable: ClassVar[Mapping[str, str]] = {"spec.unschedulable": "spec.unschedulable"}

    def fields(self, obj: Object) -> Mapping[str, str]:
        found = super().fields(obj)
        return {**found, "spec.unschedulable": found["spec.unschedulable"] or "false"}

    def fill(self, obj: Object) -> None:
        status = obj["status"]
        if status.get("capacity"):
            status["allocatable"] = {**status["capacity"], **(status.get("allocatable") or {})}

    def validate(self, obj: Object) -> list[Cause]:
        causes: list[Cause] = []
        for index, text in enumerate(obj["spec"].get("podCIDRs") or []):
            causes += names.cidr(f"spec.podCIDRs[{index}]", text)
        causes += _more_than_one_a_family(obj["spec"].get("podCIDRs") or [])
        seen = set()
        for index, taint in enumerate(obj["spec"].get("taints") or []):
            key = (taint["key"], taint["effect"])
            if key in seen:
                detail = "taints must be unique by key and effect pair"
                causes.append(invalid_value(f"spec.taints[{index}]", taint, detail))
            seen.add(key)
        return causes

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        for field in ("podCIDRs", "providerID"):
            before = old["spec"].get(field)
            if before and new["spec"].get(field) != before:
                detail = 'node updates may not change podCIDR except from "" to valid'
                causes.append(forbidden(f"spec.{field}", detail if field == "podCIDRs" else "may not be changed"))
        return causes


class EventStrategy(Strategy):
    allow_create_on_update = True
    name_rule = staticmethod(names.path_segment)
    selectable: ClassVar[Mapping[str, str]] = {
        **{
            f"involvedObject.{field}": f"involvedObject.{field}"
            for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": "reason",
        "reportingComponent": "reportingComponent",
        "source": "source.component",
        "type": "type",
    }

    def validate(self, obj: Object) -> list[Cause]:
        namespace = obj["metadata"].get("namespace") or ""
        involved = obj["involvedObject"].get("namespace") or ""
        # Events about cluster-scoped objects live in `default` (core `validation/events.go`).
        if involved == namespace or (not involved and namespace in ("default", "kube-system")):
            return []
        return [invalid_value("involvedObject.namespace", involved, "does not match event.namespace")]


class LeaseStrategy(Strategy):
    allow_create_on_update = True
    allow_unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes = []
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            causes.append(invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0"))
        return causes + non_negative("spec.leaseTransitions", spec.get("leaseTransitions") or 0)


def _more_than_one_a_family(cidrs: Sequence[str]) -> list[Cause]:
    """ValidateNode: more than one pod network is a dual-stack pair. What is no network is told by another rule."""
    families = [":" in cidr for cidr in cidrs]
    if len(families) == len(set(families)):
        return []
    return [invalid_value("spec.podCIDRs", list(cidrs), "may specify no more than one CIDR for each IP family")]
