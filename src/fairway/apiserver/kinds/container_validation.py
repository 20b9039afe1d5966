"""What is wrong with containers (kubernetes `pkg/apis/core/validation`: validateContainers and its parts)."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.quantity import parse_quantity
from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.volume_validation import validate_mounts
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    duplicate,
    forbidden,
    invalid_value,
    non_negative,
    not_supported,
    one_of,
    required,
)

_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_SCHEMES = ("HTTP", "HTTPS")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")


def validate_containers(spec: Object, path: str, volumes: set[str]) -> list[Cause]:
    """Containers, then init containers. volumes: the names that volumeMounts may use."""
    causes: list[Cause] = []
    seen: set[str] = set()
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or []):
            here = f"{path}.{field}[{index}]"
            causes += _common(container, here, volumes)
            name = container.get("name") or ""
            if name in seen:
                causes.append(duplicate(f"{here}.name", name))
            elif name:
                seen.add(name)
            causes += _lifecycle(container, here)
            causes += _probes(container, here)
    return causes + _host_ports(spec, path)


def _common(container: Object, path: str, volumes: set[str]) -> Iterator[Cause]:
    name, image = container.get("name") or "", container.get("image") or ""
    if name:
        yield from all_invalid(f"{path}.name", name, names.dns_label(name))
    else:
        yield required(f"{path}.name")
    if image != image.strip():
        yield invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    if not image:
        yield required(f"{path}.image")
    yield from one_of(f"{path}.terminationMessagePolicy", container.get("terminationMessagePolicy"), _MESSAGE_POLICIES)
    yield from _ports(container, f"{path}.ports")
    yield from _environment(container, f"{path}.env")
    yield from validate_mounts(container, f"{path}.volumeMounts", volumes)
    yield from one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    yield from _resources(container.get("resources") or {}, f"{path}.resources")


def _ports(container: Object, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(container.get("ports") or []):
        here, name = f"{path}[{index}]", port.get("name") or ""
        if name:
            yield from all_invalid(f"{here}.name", name, names.port_name(name))
            if name in seen:
                yield duplicate(f"{here}.name", name)
            seen.add(name)
        if port["containerPort"] == 0:
            yield required(f"{here}.containerPort")
        else:
            number = port["containerPort"]
            yield from all_invalid(f"{here}.containerPort", number, names.port_number(number))
        if port.get("hostPort"):
            yield from all_invalid(f"{here}.hostPort", port["hostPort"], names.port_number(port["hostPort"]))
        yield from one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)


def _environment(container: Object, path: str) -> Iterator[Cause]:
    for index, variable in enumerate(container.get("env") or []):
        here, name = f"{path}[{index}]", variable.get("name") or ""
        if name:
            yield from all_invalid(f"{here}.name", name, names.environment_name(name))
        else:
            yield required(f"{here}.name")
        source = variable.get("valueFrom")
        if source is None:
            continue
        if not source:
            detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            yield invalid_value(f"{here}.valueFrom", "", detail)
        elif variable.get("value"):
            yield invalid_value(f"{here}.valueFrom", "", "may not be specified when `value` is not empty")
        elif len(source) > 1:
            yield invalid_value(f"{here}.valueFrom", "", "may not have more than one field specified at a time")


def _resources(resources: Object, path: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, values in (("limits", limits), ("requests", requests)):
        for name, quantity in values.items():
            here = f"{path}.{field}[{name}]" if "/" in name or "." in name else f"{path}.{field}.{name}"
            if parse_quantity(quantity) < 0:
                yield invalid_value(here, quantity, "must be greater than or equal to 0")
    for name, quantity in requests.items():
        if name in limits and parse_quantity(quantity) > parse_quantity(limits[name]):
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", quantity, detail)


def _lifecycle(container: Object, path: str) -> Iterator[Cause]:
    lifecycle = container.get("lifecycle") or {}
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            yield from _handler(lifecycle[hook], f"{path}.lifecycle.{hook}", _HOOK_HANDLERS)


def _probes(container: Object, path: str) -> Iterator[Cause]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe, here = container.get(name), f"{path}.{name}"
        if probe is None:
            continue
        yield from _handler(probe, here, _PROBE_HANDLERS)
        for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            yield from non_negative(f"{here}.{field}", probe.get(field) or 0)
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield invalid_value(f"{here}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Object, path: str, kinds: tuple[str, ...]) -> Iterator[Cause]:
    given = [kind for kind in kinds if kind in handler]
    if not given:
        yield required(path, "must specify a handler type")
    for kind in given[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
    for kind in given[:1]:
        yield from _action(kind, handler[kind], f"{path}.{kind}")


def _action(kind: str, action: Object, path: str) -> Iterator[Cause]:
    if kind == "exec" and not action.get("command"):
        yield required(f"{path}.command")
    if kind == "httpGet":
        if not action.get("path"):
            yield required(f"{path}.path")
        yield from all_invalid(f"{path}.port", action["port"], names.port_number_or_name(action["port"]))
        if action.get("scheme") not in _SCHEMES:
            yield not_supported(f"{path}.scheme", action.get("scheme"), _SCHEMES)
    if kind == "tcpSocket":
        yield from all_invalid(f"{path}.port", action["port"], names.port_number_or_name(action["port"]))
    if kind == "grpc":
        yield from all_invalid(f"{path}.port", action["port"], names.port_number(action["port"]))


def _host_ports(spec: Object, path: str) -> list[Cause]:
    """Two containers of a pod cannot have the same port of the host."""
    causes, seen = [], set()
    for index, container in enumerate(spec.get("containers") or []):
        for number, port in enumerate(container.get("ports") or []):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if key in seen:
                causes.append(duplicate(f"{path}.containers[{index}].ports[{number}].hostPort", key))
            seen.add(key)
    return causes
