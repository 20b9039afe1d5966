"""What a pod asks for, parsed once from its object, and what of it this lab does not offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fairway.api.types import Key, Object
from fairway.kubelet.hostport import HostPort, parse_host_ports
from fairway.kubelet.lacking import unenforced, unsupported
from fairway.kubelet.resource_fields import ResourceField, parse_resource_field
from fairway.kubelet.times import parse_timestamp
from fairway.kubelet.volume import SourceKind, Volume, VolumeMount, parse_mounts, parse_volumes

DEFAULT_GRACE_S = 30
DEFAULT_SERVICE_ACCOUNT = "default"
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
class Sleep:
    """A hook that only takes its time."""

    seconds: int


Hook = Handler | Sleep


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
class KeySource:
    """One key of a ConfigMap or Secret of the pod's namespace. optional: neither need be there."""

    kind: SourceKind
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """field_path: of a fieldRef ("status.podIP"); resource: of a resourceFieldRef; source: of a configMapKeyRef or
    secretKeyRef; else `value` is."""

    name: str
    value: str = ""
    field_path: str = ""
    resource: ResourceField | None = None
    source: KeySource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFrom:
    """All keys of a ConfigMap or Secret as variables, their names with the prefix before them."""

    kind: SourceKind
    name: str
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container; ports maps the names of its ports to their numbers.

    sidecar: a restartable init container (its own restartPolicy is Always, KEP-753), which runs beside the others.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    probes: Mapping[ProbeType, ProbeSpec] = field(default_factory=dict)
    post_start: Hook | None = None
    pre_stop: Hook | None = None
    mounts: tuple[VolumeMount, ...] = ()
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
    hostname: of a pod on the node's network the node's name.
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
    node_name: str = ""
    host_network: bool = False
    host_ports: tuple[HostPort, ...] = ()
    readiness_gates: tuple[str, ...] = ()
    service_links: bool = True
    service_account: str = DEFAULT_SERVICE_ACCOUNT
    volumes: tuple[Volume, ...] = ()
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
        hostname=_hostname(key, spec),
        subdomain=spec.get("subdomain") or "",
        host_aliases=tuple(
            HostAlias(address=alias["ip"], names=tuple(alias.get("hostnames") or ()))
            for alias in spec.get("hostAliases") or ()
        ),
        dns=_dns(spec),
        node_name=spec.get("nodeName") or "",
        host_network=bool(spec.get("hostNetwork")),
        host_ports=parse_host_ports(spec),
        readiness_gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates") or ()),
        service_links=spec.get("enableServiceLinks") is not False,
        service_account=spec.get("serviceAccountName") or DEFAULT_SERVICE_ACCOUNT,
        volumes=parse_volumes(spec),
        unsupported=tuple(unsupported(spec)),
        unenforced=tuple(unenforced(spec)),
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
        env_from=tuple(_env_from(source) for source in item.get("envFrom") or ()),
        env=tuple(_env(variable) for variable in item.get("env") or ()),
        working_dir=item.get("workingDir") or "",
        ports={port["name"]: port["containerPort"] for port in item.get("ports") or () if port.get("name")},
        probes=probes,
        post_start=_hook((item.get("lifecycle") or {}).get("postStart") or {}),
        pre_stop=_hook((item.get("lifecycle") or {}).get("preStop") or {}),
        mounts=parse_mounts(item),
        stdin=bool(item.get("stdin")),
        tty=bool(item.get("tty")),
    )


def _env(variable: Mapping[str, Any]) -> EnvVar:
    given = variable.get("valueFrom") or {}
    return EnvVar(
        name=variable["name"],
        value=variable.get("value") or "",
        field_path=(given.get("fieldRef") or {}).get("fieldPath") or "",
        resource=parse_resource_field(given),
        source=_key_source(given),
    )


def _key_source(given: Mapping[str, Any]) -> KeySource | None:
    for name, kind in (("configMapKeyRef", SourceKind.CONFIG_MAP), ("secretKeyRef", SourceKind.SECRET)):
        if ref := given.get(name):
            return KeySource(
                kind=kind, name=ref.get("name") or "", key=ref.get("key") or "", optional=bool(ref.get("optional"))
            )
    return None


def _env_from(source: Mapping[str, Any]) -> EnvFrom:
    kind = SourceKind.SECRET if source.get("secretRef") else SourceKind.CONFIG_MAP
    ref = source.get("secretRef") or source.get("configMapRef") or {}
    return EnvFrom(
        kind=kind,
        name=ref.get("name") or "",
        prefix=source.get("prefix") or "",
        optional=bool(ref.get("optional")),
    )


def _hook(hook: Mapping[str, Any]) -> Hook | None:
    if sleep := hook.get("sleep"):
        return Sleep(seconds=int(sleep.get("seconds") or 0))
    return _handler(hook)


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


def _hostname(key: Key, spec: Mapping[str, Any]) -> str:
    if spec.get("hostNetwork"):
        return str(spec.get("nodeName") or key.name)
    return str(spec.get("hostname") or key.name)[:MAX_HOSTNAME].rstrip("-.")


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
