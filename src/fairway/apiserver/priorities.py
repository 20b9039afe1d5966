"""What a pod's priority is: the admission plugin Priority (`plugin/pkg/admission/priority/admission.go`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fairway.api.resources import PODS, PRIORITY_CLASSES
from fairway.api.types import Object
from fairway.apiserver.metadata import forbidden, metadata_of

DEFAULT_POLICY = "PreemptLowerPriority"
SYSTEM_CLASSES: Mapping[str, tuple[int, str]] = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}
"""Those every cluster has: value and description (`pkg/apis/scheduling/v1/helpers.go`)."""


def system_classes() -> list[Object]:
    """The PriorityClasses that are there before anybody makes one."""
    return [
        {
            "kind": PRIORITY_CLASSES.kind,
            "apiVersion": PRIORITY_CLASSES.api_version,
            "metadata": {"name": name},
            "value": value,
            "description": description,
            "preemptionPolicy": DEFAULT_POLICY,
        }
        for name, (value, description) in SYSTEM_CLASSES.items()
    ]


def with_priority(pod: Object, classes: Iterable[Object]) -> Object:
    """A new pod with the priority, and the policy, of its class; without one those of the default class, if any is it.

    Raises ApiError 403 for a class that is not there, and for numbers and policies that are not the class's.
    """
    spec = pod.get("spec") or {}
    name, priority, policy = _class_of(pod, spec.get("priorityClassName") or "", list(classes))
    if spec.get("priority") is not None and spec["priority"] != priority:
        raise _refused(
            pod,
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission "
            f"controller computed {priority} from the given PriorityClass name",
        )
    if spec.get("preemptionPolicy") is not None and spec["preemptionPolicy"] != policy:
        raise _refused(
            pod,
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name",
        )
    named = {"priorityClassName": name} if name else {}
    return {**pod, "spec": {**spec, **named, "priority": priority, "preemptionPolicy": policy}}


def _class_of(pod: Object, name: str, classes: list[Object]) -> tuple[str, int, str]:
    """Name, value and policy. Of several default classes the one of least value counts."""
    if name:
        found = next((one for one in classes if one["metadata"]["name"] == name), None)
        if found is None:
            raise _refused(pod, f"no PriorityClass with name {name} was found")
    else:
        defaults = [one for one in classes if one.get("globalDefault")]
        found = min(defaults, key=lambda one: int(one.get("value") or 0), default=None)
    if found is None:
        return "", 0, DEFAULT_POLICY
    value, policy = int(found.get("value") or 0), found.get("preemptionPolicy") or DEFAULT_POLICY
    return found["metadata"]["name"], value, policy


def _refused(pod: Object, reason: str) -> Exception:
    return forbidden(PODS, metadata_of(pod).get("name") or "", reason)
