"""The ConfigMaps in which kubeadm keeps how a cluster was made: its networks, and how its proxies are started. Pure.

A lab has them too. Facts: kubeadm `app/phases/addons/proxy`, `app/constants/constants.go`, and its API v1beta4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fairway.api.networking import ServiceCIDR
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.plan.options import MODE_ANNOTATION, Mode

KUBE_SYSTEM = "kube-system"
KUBE_PROXY, KUBEADM_CONFIG = "kube-proxy", "kubeadm-config"
PUBLISHED = (KUBE_PROXY, KUBEADM_CONFIG)

_PROXY_KEY, _CLUSTER_KEY = "config.conf", "ClusterConfiguration"
"""Under which a ConfigMap has its document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """How the proxies of a cluster are started, in the words of their flags; what nobody told is empty or None.

    modes: by node, of those that tell their own.
    """

    mode: Mode | None = None
    modes: Mapping[str, Mode] = field(default_factory=dict)
    cluster_cidrs: tuple[str, ...] = ()
    node_port_addresses: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    detect_local_mode: str = ""
    bridge_interface: str = ""
    interface_name_prefix: str = ""


def settings_of(objects: Iterable[Object], service_cidrs: Iterable[ServiceCIDR] = ()) -> ProxySettings:
    """What ConfigMaps and Nodes among `objects` say; the networks of Services are those of ServiceCIDRs, if any.

    Raises Refused for a ConfigMap of these names whose document is no YAML, or has a field of another type.
    """
    objects = list(objects)
    documents = {name: _document(objects, name, key) for name, key in _KEYS.items()}
    proxy, cluster = (_Document(name, documents[name]) for name in PUBLISHED)
    mode = _mode(proxy.text("mode"))
    of_mode = proxy.part(mode or Mode.IPTABLES)
    cidrs = tuple(cidr for each in service_cidrs for cidr in each.spec.cidrs)
    return ProxySettings(
        mode=mode,
        modes=dict(_modes_of_nodes(objects)),
        cluster_cidrs=_split(proxy.text("clusterCIDR")),
        node_port_addresses=proxy.texts("nodePortAddresses"),
        service_cidrs=cidrs or _split(cluster.part("networking").text("serviceSubnet")),
        masquerade_all=of_mode.flag("masqueradeAll", default=False),
        localhost_node_ports=proxy.part("iptables").flag("localhostNodePorts", default=True),
        detect_local_mode=proxy.text("detectLocalMode"),
        bridge_interface=proxy.part("detectLocal").text("bridgeInterface"),
        interface_name_prefix=proxy.part("detectLocal").text("interfaceNamePrefix"),
    )


def config_maps(*, mode: Mode, pod_cidrs: Iterable[str], service_cidrs: Iterable[str], domain: str) -> list[Object]:
    """The two ConfigMaps of a cluster made so."""
    pods, services = ",".join(pod_cidrs), ",".join(service_cidrs)
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": str(mode),
        "clusterCIDR": pods,
    }
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "networking": {"dnsDomain": domain, "podSubnet": pods, "serviceSubnet": services},
    }
    return [_config_map(KUBE_PROXY, proxy), _config_map(KUBEADM_CONFIG, cluster)]


_KEYS: Mapping[str, str] = {KUBE_PROXY: _PROXY_KEY, KUBEADM_CONFIG: _CLUSTER_KEY}


def _config_map(name: str, document: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": KUBE_SYSTEM},
        "data": {_KEYS[name]: yaml.safe_dump(document, sort_keys=False)},
    }


def _document(objects: Iterable[Object], name: str, key: str) -> Any:
    for obj in objects:
        metadata = obj.get("metadata") or {}
        if obj.get("kind") == "ConfigMap" and (metadata.get("namespace"), metadata.get("name")) == (KUBE_SYSTEM, name):
            try:
                return yaml.safe_load(str((obj.get("data") or {}).get(key) or ""))
            except yaml.YAMLError as error:
                problem = " ".join(str(error).split())
                raise Refused(f"ConfigMap {KUBE_SYSTEM}/{name}: data.{key}: {problem}") from None
    return None


def _modes_of_nodes(objects: Iterable[Object]) -> Iterator[tuple[str, Mode]]:
    for obj in objects:
        if obj.get("kind") == "Node":
            metadata = obj.get("metadata") or {}
            mode = _mode(str((metadata.get("annotations") or {}).get(MODE_ANNOTATION) or ""))
            if mode is not None:
                yield str(metadata.get("name")), mode


def _mode(text: str) -> Mode | None:
    """None where it is not told, and for a mode that is none of ours, such as ipvs."""
    return Mode(text) if text in tuple(Mode) else None


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class _Document:
    """A mapping of a ConfigMap, read field by field with the type each must have."""

    def __init__(self, where: str, content: Any) -> None:
        self._where = where
        if content is not None and not isinstance(content, dict):
            raise Refused(f"ConfigMap {KUBE_SYSTEM}/{where}: expected a mapping")
        self._content: Mapping[str, Any] = content or {}

    def part(self, name: str) -> _Document:
        return _Document(f"{self._where}: {name}", self._content.get(name))

    def text(self, name: str) -> str:
        return str(self._get(name, str, "a text") or "")

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._get(name, bool, "true or false")
        return default if value is None else bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(str(each) for each in self._get(name, list, "a list") or ())

    def _get(self, name: str, kind: type, expected: str) -> Any:
        value = self._content.get(name)
        if value is not None and not isinstance(value, kind):
            raise Refused(f"ConfigMap {KUBE_SYSTEM}/{self._where}: {name}: expected {expected}")
        return value
