"""What a pod asks for, parsed once from its object, and what of it this lab does not offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fairway.api.types import Key, Object
from fairway.kubelet.times import parse_timestamp

DEFAULT_GRACE_S = 30
MAX_HOSTNAME = 63
"""A longer pod name is cut, as the kubelet does (`truncatePodHostnameIfNeeded`)."""


class RestartPolicy(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class ProbeType(StrEnum):
    """The value is the word at the head of the probe's events."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpGet:
    """port: a number, or the name of a port of the container. host: "" is the pod's own address."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocket:
    port: int | str
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecAction:
    command: tuple[str, ...]


Handler = HttpGet | TcpSocket | ExecAction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """One probe of a container; defaults as the API server writes them."""

    handler: Handler
    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """field_path: of a fieldRef ("status.podIP"); then `value` is empty."""

    name: str
    value: str = ""
    field_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container; ports maps the names of its ports to their numbers.

    sidecar: a restartable init container (its own restartPolicy is Always, KEP-753), which runs beside the others.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    probes: Mapping[ProbeType, ProbeSpec] = field(default_factory=dict)
    stdin: bool = False
    tty: bool = False
    sidecar: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAlias:
    address: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """dnsPolicy and dnsConfig of a pod."""

    policy: str = "ClusterFirst"
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod as the kubelet works on it.

    unsupported: what it asks for and the lab lacks, as one clause each; such a pod is not started.
    unenforced: what it asks for and gets without the effect, such as limits; it is started.
    grace_s: seconds between SIGTERM and SIGKILL when it is deleted.
    deletion_grace_s: None until it is being deleted; then the grace that the API server settled on.
    deleted_at: the end of that grace, in seconds since the epoch; 0 until it is being deleted.
    """

    key: Key
    uid: str
    containers: tuple[ContainerSpec, ...]
    init_containers: tuple[ContainerSpec, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    grace_s: int = DEFAULT_GRACE_S
    hostname: str = ""
    subdomain: str = ""
    host_aliases: tuple[HostAlias, ...] = ()
    dns: DnsConfig = DnsConfig()
    readiness_gates: tuple[str, ...] = ()
    service_links: bool = True
    unsupported: tuple[str, ...] = ()
    unenforced: tuple[str, ...] = ()
    deletion_grace_s: int | None = None
    deleted_at: float = 0.0

    @property
    def all_containers(self) -> tuple[ContainerSpec, ...]:
        return self.init_containers + self.containers

    @property
    def sidecars(self) -> tuple[ContainerSpec, ...]:
        return tuple(container for container in self.init_containers if container.sidecar)

    @property
    def lasting_containers(self) -> tuple[ContainerSpec, ...]:
        """Those that run side by side once the pod is initialized."""
        return self.sidecars + self.containers

    def container(self, name: str) -> ContainerSpec | None:
        return next((container for container in self.all_containers if container.name == name), None)


def parse_pod(pod: Object) -> PodSpec:
    """Read a pod that the API server has defaulted and validated; fields it may lack get the API's defaults."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    key = Key(metadata.get("namespace") or "", metadata["name"])
    grace = spec.get("terminationGracePeriodSeconds")
    deletion_grace = None
    if metadata.get("deletionTimestamp"):
        deletion_grace = int(metadata.get("deletionGracePeriodSeconds") or 0)
    return PodSpec(
        key=key,
        uid=metadata.get("uid") or "",
        containers=tuple(_container(item) for item in spec.get("containers") or ()),
        init_containers=tuple(
            replace(_container(item), sidecar=item.get("restartPolicy") == RestartPolicy.ALWAYS)
            for item in spec.get("initContainers") or ()
        ),
        restart_policy=RestartPolicy(spec.get("restartPolicy") or RestartPolicy.ALWAYS),
        grace_s=DEFAULT_GRACE_S if grace is None else int(grace),
        hostname=(spec.get("hostname") or key.name)[:MAX_HOSTNAME].rstrip("-."),
        subdomain=spec.get("subdomain") or "",
        host_aliases=tuple(
            HostAlias(address=alias["ip"], names=tuple(alias.get("hostnames") or ()))
            for alias in spec.get("hostAliases") or ()
        ),
        dns=_dns(spec),
        readiness_gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates") or ()),
        service_links=spec.get("enableServiceLinks") is not False,
        unsupported=tuple(_unsupported(spec)),
        unenforced=tuple(_unenforced(spec)),
        deletion_grace_s=deletion_grace,
        deleted_at=parse_timestamp(metadata.get("deletionTimestamp") or "", 0.0),
    )


def _container(item: Mapping[str, Any]) -> ContainerSpec:
    probes = {
        kind: _probe(item[name])
        for kind, name in (
            (ProbeType.STARTUP, "startupProbe"),
            (ProbeType.LIVENESS, "livenessProbe"),
            (ProbeType.READINESS, "readinessProbe"),
        )
        if item.get(name) and _handler(item[name]) is not None
    }
    return ContainerSpec(
        name=item["name"],
        image=item.get("image") or "",
        command=tuple(item.get("command") or ()),
        args=tuple(item.get("args") or ()),
        env=tuple(_env(variable) for variable in item.get("env") or ()),
        working_dir=item.get("workingDir") or "",
        ports={port["name"]: port["containerPort"] for port in item.get("ports") or () if port.get("name")},
        probes=probes,
        stdin=bool(item.get("stdin")),
        tty=bool(item.get("tty")),
    )


def _env(variable: Mapping[str, Any]) -> EnvVar:
    source = (variable.get("valueFrom") or {}).get("fieldRef") or {}
    return EnvVar(name=variable["name"], value=variable.get("value") or "", field_path=source.get("fieldPath") or "")


def _handler(probe: Mapping[str, Any]) -> Handler | None:
    if get := probe.get("httpGet"):
        return HttpGet(
            port=get["port"],
            path=get.get("path") or "/",
            host=get.get("host") or "",
            scheme=(get.get("scheme") or "HTTP").upper(),
            headers=tuple((header["name"], header.get("value") or "") for header in get.get("httpHeaders") or ()),
        )
    if socket := probe.get("tcpSocket"):
        return TcpSocket(port=socket["port"], host=socket.get("host") or "")
    if action := probe.get("exec"):
        return ExecAction(command=tuple(action.get("command") or ()))
    return None


def _probe(probe: Mapping[str, Any]) -> ProbeSpec:
    handler = _handler(probe)
    assert handler is not None
    return ProbeSpec(
        handler=handler,
        initial_delay_s=int(probe.get("initialDelaySeconds") or 0),
        period_s=int(probe.get("periodSeconds") or 10),
        timeout_s=int(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
        grace_s=probe.get("terminationGracePeriodSeconds"),
    )


def _dns(spec: Mapping[str, Any]) -> DnsConfig:
    config = spec.get("dnsConfig") or {}
    return DnsConfig(
        policy=spec.get("dnsPolicy") or "ClusterFirst",
        nameservers=tuple(config.get("nameservers") or ()),
        searches=tuple(config.get("searches") or ()),
        options=tuple(
            option["name"] + (f":{option['value']}" if option.get("value") else "")
            for option in config.get("options") or ()
        ),
    )


_UNSUPPORTED_FLAGS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "setHostnameAsFQDN")
_UNSUPPORTED_FIELDS = ("activeDeadlineSeconds", "runtimeClassName", "ephemeralContainers", "resourceClaims")
_TOKEN_VOLUME_PREFIX = "kube-api-access-"  # noqa: S105 - a volume's name
"""The volume that the ServiceAccount admission plugin adds to every pod; it is left out, not refused."""


def _unsupported(spec: Mapping[str, Any]) -> Sequence[str]:
    found = [f"spec.{name}" for name in _UNSUPPORTED_FLAGS if spec.get(name)]
    found += [f"spec.{name}" for name in _UNSUPPORTED_FIELDS if spec.get(name)]
    for index, volume in enumerate(spec.get("volumes") or ()):
        if not volume["name"].startswith(_TOKEN_VOLUME_PREFIX):
            kind = next((name for name in volume if name != "name"), "emptyDir")
            found.append(f"spec.volumes[{index}] ({kind})")
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            found += _unsupported_in_container(container, f"spec.{field_name}[{index}]")
    return found


def _unsupported_in_container(container: Mapping[str, Any], path: str) -> list[str]:
    found = [f"{path}.{name}" for name in ("envFrom", "lifecycle", "volumeDevices") if container.get(name)]
    for index, port in enumerate(container.get("ports") or ()):
        if port.get("hostPort"):
            found.append(f"{path}.ports[{index}].hostPort")
    for index, variable in enumerate(container.get("env") or ()):
        source = variable.get("valueFrom") or {}
        found += [f"{path}.env[{index}].valueFrom.{name}" for name in source if name != "fieldRef"]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container.get(name) and _handler(container[name]) is None:
            kind = next((key for key in container[name] if not key.endswith(("Seconds", "Threshold"))), "no handler")
            found.append(f"{path}.{name} ({kind})")
    return found


def _unenforced(spec: Mapping[str, Any]) -> Sequence[str]:
    found = ["spec.securityContext"] if spec.get("securityContext") else []
    for field_name in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field_name) or ()):
            path = f"spec.{field_name}[{index}]"
            if container.get("securityContext"):
                found.append(f"{path}.securityContext")
            if (container.get("resources") or {}).get("limits"):
                found.append(f"{path}.resources.limits")
    return found
