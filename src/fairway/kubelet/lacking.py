"""What a pod asks for and the lab lacks: said of the pod in an event, so that nobody has to guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HANDLERS = ("httpGet", "tcpSocket", "exec")
"""Of a probe."""
_UNSUPPORTED_FLAGS = ("hostPID", "hostIPC", "shareProcessNamespace", "setHostnameAsFQDN")
_UNSUPPORTED_FIELDS = ("activeDeadlineSeconds", "runtimeClassName", "ephemeralContainers", "resourceClaims")
_VALUE_SOURCES = ("fieldRef", "configMapKeyRef", "secretKeyRef")
_TOKEN_VOLUME_PREFIX = "kube-api-access-"  # noqa: S105 - a volume's name
"""The volume that the ServiceAccount admission plugin adds to every pod; it is left out, not refused."""


def unsupported(spec: Mapping[str, Any]) -> Sequence[str]:
    """What of a pod's spec the lab does not offer, as one clause each that names the field."""
    found = [f"spec.{name}" for name in _UNSUPPORTED_FLAGS if spec.get(name)]
    found += [f"spec.{name}" for name in _UNSUPPORTED_FIELDS if spec.get(name)]
    for index, volume in enumerate(spec.get("volumes") or ()):
        if not volume["name"].startswith(_TOKEN_VOLUME_PREFIX):
            kind = next((name for name in volume if name != "name"), "emptyDir")
            found.append(f"spec.volumes[{index}] ({kind})")
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            here = f"spec.{field_name}[{index}]"
            found += _unsupported_in_container(container, here, host_network=bool(spec.get("hostNetwork")))
    return found


def _unsupported_in_container(container: Mapping[str, Any], path: str, *, host_network: bool) -> list[str]:
    found = [f"{path}.{name}" for name in ("volumeDevices",) if container.get(name)]
    for index, port in enumerate(container.get("ports") or ()):
        if port.get("hostPort") and not host_network:
            found.append(f"{path}.ports[{index}].hostPort")
    for index, variable in enumerate(container.get("env") or ()):
        source = variable.get("valueFrom") or {}
        found += [f"{path}.env[{index}].valueFrom.{name}" for name in source if name not in _VALUE_SOURCES]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container.get(name) and not any(container[name].get(handler) for handler in HANDLERS):
            kind = next((key for key in container[name] if not key.endswith(("Seconds", "Threshold"))), "no handler")
            found.append(f"{path}.{name} ({kind})")
    return found


def unenforced(spec: Mapping[str, Any]) -> Sequence[str]:
    """What of a pod's spec has no effect in the lab, as one clause each that names the field."""
    found = ["spec.securityContext"] if spec.get("securityContext") else []
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            path = f"spec.{field_name}[{index}]"
            if container.get("securityContext"):
                found.append(f"{path}.securityContext")
            if (container.get("resources") or {}).get("limits"):
                found.append(f"{path}.resources.limits")
    return found
