"""The table of resources: kind, group, version, plural, scope, verbs and subresources.

URLs, discovery documents and the store's keys are derived from it. Facts: Kubernetes API reference and
`kubectl api-resources` of 1.33.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A part of an object with a URL of its own.

    kind: the kind it answers with, where that differs from the resource's, as (group, version, kind).
    """

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind the API serves."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = field(default=())

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def group_resource(self) -> str:
        """As in the API's messages: "services", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def prefix(self) -> str:
        """The URL of its group and version: "/api/v1", "/apis/apps/v1"."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection (no name), an object or a subresource; no namespace means all of them."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


_STATUS = Subresource(name="status")
_SCALE = Subresource(name="scale", kind=("autoscaling", "v1", "Scale"))
_STREAM = ("create", "get")

NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource(name="finalize", verbs=("update",)), _STATUS),
)
NODES = Resource(kind="Node", plural="nodes", namespaced=False, short_names=("no",), subresources=(_STATUS,))
PODS = Resource(
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource(name="binding", verbs=("create",), kind=("", "v1", "Binding")),
        Subresource(name="eviction", verbs=("create",), kind=("policy", "v1", "Eviction")),
        Subresource(name="exec", verbs=_STREAM, kind=("", "v1", "PodExecOptions")),
        Subresource(name="log", verbs=("get",)),
        _STATUS,
    ),
)
SERVICES = Resource(
    kind="Service", plural="services", short_names=("svc",), categories=("all",), subresources=(_STATUS,)
)
ENDPOINTS = Resource(kind="Endpoints", plural="endpoints", short_names=("ep",))
CONFIG_MAPS = Resource(kind="ConfigMap", plural="configmaps", short_names=("cm",))
SECRETS = Resource(kind="Secret", plural="secrets")
SERVICE_ACCOUNTS = Resource(
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=(Subresource(name="token", verbs=("create",), kind=("authentication.k8s.io", "v1", "TokenRequest")),),
)
EVENTS = Resource(kind="Event", plural="events", short_names=("ev",))
CONTROLLER_REVISIONS = Resource(kind="ControllerRevision", plural="controllerrevisions", group="apps")
DAEMON_SETS = Resource(
    kind="DaemonSet",
    plural="daemonsets",
    group="apps",
    short_names=("ds",),
    categories=("all",),
    subresources=(_STATUS,),
)
DEPLOYMENTS = Resource(
    kind="Deployment",
    plural="deployments",
    group="apps",
    short_names=("deploy",),
    categories=("all",),
    subresources=(_SCALE, _STATUS),
)
REPLICA_SETS = Resource(
    kind="ReplicaSet",
    plural="replicasets",
    group="apps",
    short_names=("rs",),
    categories=("all",),
    subresources=(_SCALE, _STATUS),
)
ENDPOINT_SLICES = Resource(kind="EndpointSlice", plural="endpointslices", group="discovery.k8s.io")
LEASES = Resource(kind="Lease", plural="leases", group="coordination.k8s.io")
PRIORITY_CLASSES = Resource(
    kind="PriorityClass", plural="priorityclasses", group="scheduling.k8s.io", namespaced=False, short_names=("pc",)
)
SERVICE_CIDRS = Resource(
    kind="ServiceCIDR",
    plural="servicecidrs",
    group="networking.k8s.io",
    namespaced=False,
    subresources=(_STATUS,),
)
IP_ADDRESSES = Resource(
    kind="IPAddress", plural="ipaddresses", group="networking.k8s.io", namespaced=False, short_names=("ip",)
)

RESOURCES: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    EVENTS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    ENDPOINT_SLICES,
    LEASES,
    PRIORITY_CLASSES,
    IP_ADDRESSES,
    SERVICE_CIDRS,
)
"""Every kind that is stored and served, in the order of discovery."""

BY_KIND: dict[tuple[str, str], Resource] = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
"""By an object's (apiVersion, kind)."""
