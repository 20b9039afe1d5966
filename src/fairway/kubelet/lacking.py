"""What a pod asks for and the lab lacks: said of the pod in an event, so that nobody has to guess.

What a pod can do without it runs without; only what it would miss at once, such as a volume, keeps it from starting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairway.kubelet.volume import PROJECTIONS, VOLUME_KINDS

HANDLERS = ("httpGet", "tcpSocket", "exec")
"""Of a probe."""
_VALUE_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")


def unsupported(spec: Mapping[str, Any]) -> Sequence[str]:
    """What of a pod's spec the lab does not offer, as one clause each that names the field."""
    found: list[str] = []
    for index, volume in enumerate(spec.get("volumes") or ()):
        found += _unsupported_in_volume(volume, f"spec.volumes[{index}]")
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            here = f"spec.{field_name}[{index}]"
            found += _unsupported_in_container(container, here)
    return found


def _unsupported_in_volume(volume: Mapping[str, Any], path: str) -> list[str]:
    found = [f"{path} ({kind})" for kind in volume if kind != "name" and kind not in VOLUME_KINDS]
    for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
        found += [f"{path}.projected.sources[{index}] ({kind})" for kind in source if kind not in PROJECTIONS]
    return found


def _unsupported_in_container(container: Mapping[str, Any], path: str) -> list[str]:
    found = [f"{path}.{name}" for name in ("volumeDevices",) if container.get(name)]
    for index, variable in enumerate(container.get("env") or ()):
        source = variable.get("valueFrom") or {}
        found += [f"{path}.env[{index}].valueFrom.{name}" for name in source if name not in _VALUE_SOURCES]
    return found


_IGNORED = (
    "activeDeadlineSeconds",
    "ephemeralContainers",
    "hostIPC",
    "hostPID",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
)
"""Fields of a pod's spec that change nothing here."""

_AS_IT_IS: Mapping[str, Sequence[Any]] = {
    "allowPrivilegeEscalation": (True,),
    "privileged": (True, False),
    "procMount": ("Default",),
    "readOnlyRootFilesystem": (True,),
    "runAsGroup": (0,),
    "runAsNonRoot": (False,),
    "runAsUser": (0,),
}
"""Of a security context, what every pod has without asking: it is root in the lab, and cannot write the machine's
files. privileged false is what most say who do not care."""


def unenforced(spec: Mapping[str, Any]) -> Sequence[str]:
    """What of a pod's spec has no effect in the lab, as one clause each that names the field."""
    found = [f"spec.{name}" for name in _IGNORED if spec.get(name)]
    if spec.get("hostUsers") is False:
        found.append("spec.hostUsers")
    for index, volume in enumerate(spec.get("volumes") or ()):
        if (volume.get("emptyDir") or {}).get("sizeLimit"):
            found.append(f"spec.volumes[{index}].emptyDir.sizeLimit")
    found += _unenforced_security(spec.get("securityContext") or {}, "spec")
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            found += _unenforced_in_container(container, f"spec.{field_name}[{index}]")
    return found


def _unenforced_in_container(container: Mapping[str, Any], path: str) -> list[str]:
    found = _unenforced_security(container.get("securityContext") or {}, path)
    if (container.get("resources") or {}).get("limits"):
        found.append(f"{path}.resources.limits")
    if (container.get("lifecycle") or {}).get("stopSignal"):
        found.append(f"{path}.lifecycle.stopSignal")
    if container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        found.append(f"{path}.terminationMessagePolicy")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container.get(name) and not any(container[name].get(handler) for handler in HANDLERS):
            kind = next((key for key in container[name] if not key.endswith(("Seconds", "Threshold"))), "no handler")
            found.append(f"{path}.{name} ({kind})")
    return found


def _unenforced_security(context: Mapping[str, Any], path: str) -> list[str]:
    """Each field of a security context that asks for something else than what is."""
    found = []
    for name, value in context.items():
        if name == "capabilities":
            found += [f"{path}.securityContext.capabilities.drop"] if value.get("drop") else []
        elif value is not None and value not in _AS_IT_IS.get(name, ()):
            found.append(f"{path}.securityContext.{name}")
    return found
