"""The environment a container starts with: its own variables, those of the Services, and what every program expects.

Order and expansion as the kubelet's `makeEnvironmentVariables` and `pkg/kubelet/envvars`; a later variable sees the
earlier ones as `$(NAME)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fairway.api.types import Key, Object
from fairway.base.errors import Refused
from fairway.kubelet.pod import ContainerSpec, EnvFrom, KeySource, PodSpec
from fairway.kubelet.resource_fields import resource_value
from fairway.kubelet.volume import SourceKind

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/root"

Sources = Mapping[tuple[SourceKind, str], Mapping[str, bytes]]
"""Of the ConfigMaps and Secrets of a namespace that are there: their values by key."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Refused):
    """A container cannot be made from what its spec refers to; the text is the kubelet's."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; `$$` is a dollar sign; an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def field_value(pod: Object, path: str, *, pod_ips: Sequence[str], host_ips: Sequence[str]) -> str:
    """What a fieldRef names; "" for a field that has no value, as a downward API variable then has.

    pod_ips, host_ips: the primary one first.
    """
    metadata: Mapping[str, Any] = pod["metadata"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    spec = pod.get("spec") or {}
    values = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": host_ips[0],
        "status.hostIPs": ",".join(host_ips),
        "status.podIP": pod_ips[0],
        "status.podIPs": ",".join(pod_ips),
    }
    return str(values.get(path) or "")


def service_environment(services: Iterable[Object], namespace: str, *, links: bool) -> dict[str, str]:
    """The variables that tell of Services.

    The API server's Service is always told (KUBERNETES_SERVICE_HOST); those of the pod's namespace with `links`
    (enableServiceLinks). Headless Services and those without an address are not.
    """
    variables: dict[str, str] = {}
    for service in sorted(services, key=lambda item: (item["metadata"]["namespace"] == namespace, _name(item))):
        metadata = service["metadata"]
        master = (metadata["namespace"], metadata["name"]) == ("default", "kubernetes")
        if master or (links and metadata["namespace"] == namespace):
            variables |= _of_service(service)
    return variables


def _name(service: Object) -> str:
    return str(service["metadata"]["name"])


def _of_service(service: Object) -> dict[str, str]:
    spec = service.get("spec") or {}
    address, ports = spec.get("clusterIP") or "", spec.get("ports") or ()
    if address in ("", "None") or not ports:
        return {}
    prefix = _variable_name(_name(service))
    host = f"[{address}]" if ":" in address else address
    variables = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(port['name'])}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol, number = (port.get("protocol") or "TCP").lower(), str(port["port"])
        url = f"{protocol}://{host}:{number}"
        if index == 0:
            variables[f"{prefix}_PORT"] = url
        base = f"{prefix}_PORT_{number}_{protocol.upper()}"
        variables |= {base: url, f"{base}_PROTO": protocol, f"{base}_PORT": number, f"{base}_ADDR": address}
    return variables


def _of_source(wanted: EnvFrom, sources: Sources) -> dict[str, str]:
    found = sources.get((wanted.kind, wanted.name))
    if found is None and not wanted.optional:
        raise ConfigError(f'{wanted.kind.lower()} "{wanted.name}" not found')
    return {wanted.prefix + key: value.decode("utf-8", "replace") for key, value in (found or {}).items()}


def _of_key(wanted: KeySource, pod: Key, sources: Sources) -> str | None:
    """None for an optional one that is not there: its variable is left out."""
    found = sources.get((wanted.kind, wanted.name))
    if found is not None and wanted.key in found:
        return found[wanted.key].decode("utf-8", "replace")
    if wanted.optional:
        return None
    if found is None:
        raise ConfigError(f'{wanted.kind.lower()} "{wanted.name}" not found')
    raise ConfigError(f"couldn't find key {wanted.key} in {wanted.kind} {pod.namespace}/{wanted.name}")


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")


def container_environment(
    container: ContainerSpec,
    pod: PodSpec,
    obj: Object,
    *,
    services: Iterable[Object],
    image_env: Mapping[str, str],
    pod_ips: Sequence[str],
    host_ips: Sequence[str],
    sources: Sources,
    allocatable: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Everything in a container's environment; a variable of the pod's spec wins over all others.

    allocatable: of the node, the limits of a container that has none of its own.

    Raises ConfigError when a ConfigMap, a Secret or a key of one is not there and not optional.
    """
    result = {"PATH": PATH, "HOME": HOME, "HOSTNAME": pod.hostname, **({"TERM": "xterm"} if container.tty else {})}
    result |= image_env
    known = service_environment(services, pod.key.namespace, links=pod.service_links)
    for wanted in container.env_from:
        known |= _of_source(wanted, sources)
    for variable in container.env:
        if variable.field_path:
            value = field_value(obj, variable.field_path, pod_ips=pod_ips, host_ips=host_ips)
        elif variable.resource:
            value = resource_value(obj, variable.resource, container=container.name, allocatable=allocatable)
        elif variable.source:
            found = _of_key(variable.source, pod.key, sources)
            if found is None:
                continue
            value = found
        else:
            value = expand(variable.value, known)
        known[variable.name] = value
    return result | known


def expanded_argv(argv: Iterable[str], container: ContainerSpec, environment: Mapping[str, str]) -> tuple[str, ...]:
    """command and args may name the container's variables as `$(NAME)`."""
    return tuple(expand(argument, environment) for argument in argv)
