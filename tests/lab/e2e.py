"""What tests in the manner of Kubernetes' own network tests need: objects made and awaited over the API, calls made.

An object is waited for by a watch, and what a data plane does by calls until it does it (`Caller.steady`). Both end
after `LIMIT_S` or the caller's own limit.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fairway.api.resources import BY_KIND, NAMESPACES, NODES, RESOURCES, Resource
from fairway.api.types import Object
from fairway.cluster.tools import lacks_for
from fairway.plan.options import Mode
from fairway.watch.kubeconfig import load_kubeconfig
from tests.lab import caller
from tests.lab.caller import REFUSED, TIMEOUT
from tests.lab.command import User

__all__ = ["REFUSED", "TIMEOUT"]

LIMIT_S = 60
"""Only what never becomes true takes as long."""
RUN = 30
"""So many answers one after another tell which pods answer: of two, one is left out by chance once in 2^29."""
RUNS = {REFUSED: 1, TIMEOUT: 2}
"""So many of these in a row: after six ICMP errors the kernel sends a peer one a second, and silence costs time."""
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
HTTP, UDP = 8080, 8081
"""Ports of netexec without arguments."""

BOTH_MODES = [
    Mode.NFTABLES,
    pytest.param(Mode.IPTABLES, marks=pytest.mark.skipif(bool(lacks_for(Mode.IPTABLES)), reason="needs iptables")),
]

Target = tuple[str, int]
Objects = dict[str, Object]
_BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES}
_CONTENT_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json",
}


class Caller:
    """Makes calls in one place of the lab; `tests.lab.caller` says what they are."""

    def __init__(self, user: User, lab: str, place: str) -> None:
        self.place = place
        program = Path(caller.__file__).read_text()
        self._process = subprocess.Popen(
            [*user.command, "exec", "--name", lab, place, "--", sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=user.environment(),
        )

    def close(self) -> None:
        with self._process:
            pass

    def do(self, what: str, **how: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": what, **how}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the caller in {self.place} ended"
        return json.loads(answer)

    def many(self, over: str, to: Target, request: str = "hostname", *, tries: int = 1, **how: Any) -> list[str]:
        """The answers to so many calls."""
        answers: list[str] = self.do("many", tries=tries, **_call(over, to, request, **how))
        return answers

    def call(self, over: str, to: Target, request: str = "hostname", **how: Any) -> str:
        return self.many(over, to, request, **how)[0]

    def steady(
        self, over: str, to: Target, *wanted: str, request: str = "hostname", run: int = 0, **how: Any
    ) -> list[str]:
        """Call until nothing but the wanted answers comes, and each of them; what came before."""
        run = run or (RUN if len(wanted) > 1 else RUNS.get(wanted[0], 5))
        others = self.do("steady", wanted=list(wanted), run=run, **_call(over, to, request, **how))
        assert others is not None, f"{self.place}: {over} to {to} was not answered by {wanted}"
        found: list[str] = others
        return found

    def reach(self, over: str, to: Target, request: str = "hostname", **how: Any) -> str:
        """The first answer, once there is one."""
        answer = self.do("reach", **_call(over, to, request, **how))
        assert answer is not None, f"{self.place}: {over} to {to} was never answered"
        return str(answer)

    def faithful(self, over: str, to: Target, **how: Any) -> str:
        """Who answers, once somebody does: the same one to every call."""
        first = self.reach(over, to, **how)
        assert set(self.many(over, to, tries=RUN, **how)) == {first}
        return first

    def settled(self, over: str, to: Target, **how: Any) -> str:
        """Who answers once it is always the same one."""
        answer = self.do("settled", run=RUN, **_call(over, to, "hostname", **how))
        assert answer is not None, f"{self.place}: {over} to {to} is answered now by one and now by another"
        return str(answer)

    def other(self, over: str, to: Target, than: str, *, after: float, **how: Any) -> str | None:
        """Who answers in place of somebody, once so many seconds are between the calls."""
        found: str | None = self.do("other", than=than, after=after, **_call(over, to, "hostname", **how))
        return found

    def resolve(self, name: str) -> tuple[str, list[str]]:
        """The canonical name and the addresses of a name."""
        canonical, addresses = self.do("resolve", name=name)
        return canonical, addresses


def _call(
    over: str,
    to: Target,
    request: str,
    *,
    timeout: float = 1,
    source: Target | None = None,
    via: Target | None = None,
) -> dict[str, Any]:
    return {"over": over, "to": to, "request": request, "timeout": timeout, "source": source, "via": via}


@dataclass(kw_only=True)
class Cluster:
    """A lab, by its API and from its places."""

    user: User
    name: str
    nodes: dict[str, str] = field(default_factory=dict)
    """Name -> internal address, the control plane first."""
    _callers: dict[str, Caller] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._credentials = load_kubeconfig(self.user.state / self.name / "kubeconfig")
        self._connection = self._connect()
        for node in self.list(NODES):
            self.nodes[node["metadata"]["name"]] = node["status"]["addresses"][0]["address"]
        self._default = Namespace(cluster=self, name="default")

    def _connect(self) -> http.client.HTTPSConnection:
        address = urllib.parse.urlsplit(self._credentials.server)
        assert address.hostname is not None
        return http.client.HTTPSConnection(
            address.hostname, address.port, timeout=LIMIT_S, context=self._credentials.ssl_context
        )

    @property
    def workers(self) -> list[str]:
        return list(self.nodes)[1:]

    @property
    def default(self) -> Namespace:
        return self._default

    def at(self, place: str) -> Caller:
        """In a node, a client or a pod (NAMESPACE/NAME)."""
        if place not in self._callers:
            self._callers[place] = Caller(self.user, self.name, place)
        return self._callers[place]

    def leave(self, place: str) -> None:
        self._callers.pop(place).close()

    def close(self) -> None:
        for place in list(self._callers):
            self.leave(place)
        self._connection.close()

    def ask(
        self, method: str, path: str, body: Object | None = None, *, form: str = "json", **query: Any
    ) -> tuple[int, Any]:
        """Status and body of a request; the body as text where it is no JSON. form: of a patch."""
        url = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        headers = {"Accept": "application/json", "Content-Type": _CONTENT_TYPES[form]}
        self._connection.request(method, url, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def get_list(self, resource: Resource, namespace: str = "", **query: Any) -> Object:
        code, found = self.ask("GET", resource.path(namespace), **query)
        assert code == 200, found
        listed: Object = found
        return listed

    def list(self, resource: Resource, namespace: str = "", **query: Any) -> list[Object]:
        found: list[Object] = self.get_list(resource, namespace, **query)["items"]
        return found

    def watch(self, resource: Resource, namespace: str = "", **query: Any) -> Iterator[tuple[str, Object]]:
        """Type and object of each event, until LIMIT_S are over."""
        connection = self._connect()
        try:
            asked = {"watch": "true", "timeoutSeconds": LIMIT_S, **query}
            connection.request("GET", f"{resource.path(namespace)}?{urllib.parse.urlencode(asked)}")
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()

    def namespace(self, name: str) -> Namespace:
        made = Namespace(cluster=self, name=name)
        made.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return made


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A namespace of the lab; a resource is named as in URLs ("pods")."""

    cluster: Cluster
    name: str

    def path(self, resource: str, name: str = "", subresource: str = "") -> str:
        return _BY_PLURAL[resource].path(self.name, name, subresource)

    def ask(
        self, method: str, resource: str, name: str = "", body: Object | None = None, **how: Any
    ) -> tuple[int, Any]:
        return self.cluster.ask(method, self.path(resource, name, how.pop("subresource", "")), body, **how)

    def done(self, method: str, resource: str, name: str = "", body: Object | None = None, **how: Any) -> Object:
        """The answer to a request that is accepted."""
        code, answer = self.ask(method, resource, name, body, **how)
        assert code in (200, 201), answer
        found: Object = answer
        return found

    def create(self, *objects: Object) -> list[Object]:
        made = []
        for each in objects:
            resource = BY_KIND[each["apiVersion"], each["kind"]]
            made.append(self.done("POST", resource.plural, "", each))
        return made

    def get(self, resource: str, name: str) -> Object:
        return self.done("GET", resource, name)

    def change(self, resource: str, name: str, how: Callable[[Object], object]) -> Object:
        """Read, change and replace an object."""
        found = self.get(resource, name)
        how(found)
        return self.done("PUT", resource, name, found)

    def patch(self, resource: str, name: str, body: Object, **how: Any) -> Object:
        return self.done("PATCH", resource, name, body, **{"form": "merge", **how})

    def delete(self, resource: str, *names: str, grace: int | None = None) -> None:
        """Ask for it; pods may take their time."""
        query: dict[str, Any] = {} if grace is None else {"gracePeriodSeconds": grace}
        for name in names:
            self.done("DELETE", resource, name, **query)

    def until(self, resource: str, holds: Callable[[Objects], object], **query: Any) -> Objects:
        """Follow the objects of a kind, by name, until it holds of them."""
        kind = _BY_PLURAL[resource]
        listed = self.cluster.get_list(kind, self.name, **query)
        objects = {each["metadata"]["name"]: each for each in listed["items"]}
        if holds(objects):
            return objects
        version = listed["metadata"]["resourceVersion"]
        for type_, each in self.cluster.watch(kind, self.name, resourceVersion=version, **query):
            if type_ == "DELETED":
                objects.pop(each["metadata"]["name"], None)
            else:
                objects[each["metadata"]["name"]] = each
            if holds(objects):
                return objects
        told = {name: each.get("status", each) for name, each in objects.items()}
        raise AssertionError(f"never of {resource} in {self.name}: {json.dumps(told)[:4000]}")

    def run(self, *pods: Object) -> list[str]:
        """Make pods and wait until they are Ready; their addresses."""
        self.create(*pods)
        names = [pod["metadata"]["name"] for pod in pods]
        found = self.until("pods", lambda pods: all(is_ready(pods[name]) for name in names))
        return [found[name]["status"]["podIP"] for name in names]

    def gone(self, resource: str, *names: str) -> None:
        self.until(resource, lambda objects: not objects.keys() & set(names))

    def serve(self, name: str, *ports: Object, **spec: Any) -> Served:
        """Make a Service. ports: of its spec."""
        [made] = self.create(service(name, *ports, **spec))
        return Served(namespace=self, object=made)

    def service(self, name: str) -> Served:
        return Served(namespace=self, object=self.get("services", name))

    def endpoints(self, service: str, holds: Callable[[list[Object]], object]) -> list[Object]:
        """Wait until it holds of all endpoints of a Service's slices."""

        def told(slices: Objects) -> list[Object]:
            return [endpoint for each in slices.values() for endpoint in each["endpoints"] or ()]

        label = {"labelSelector": f"kubernetes.io/service-name={service}"}
        return told(self.until("endpointslices", lambda slices: holds(told(slices)), **label))

    def at(self, pod: str) -> Caller:
        return self.cluster.at(f"{self.name}/{pod}")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A Service as it was made."""

    namespace: Namespace
    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def host(self) -> str:
        return str(self.object["spec"]["clusterIP"])

    def port(self, index: int = 0) -> Target:
        """By its cluster address."""
        return self.host, self.object["spec"]["ports"][index]["port"]

    def node_port(self, node: str, index: int = 0) -> Target:
        return self.namespace.cluster.nodes[node], self.object["spec"]["ports"][index]["nodePort"]

    def everywhere(self, index: int = 0) -> list[Target]:
        """By its cluster address, and by every worker's node port where it has one."""
        is_open = "nodePort" in self.object["spec"]["ports"][index]
        nodes = self.namespace.cluster.workers if is_open else ()
        return [self.port(index), *(self.node_port(node, index) for node in nodes)]

    def set(self, **spec: Any) -> Served:
        """Replace fields of its spec; None takes one away."""

        def change(found: Object) -> None:
            found["spec"] = {name: value for name, value in (found["spec"] | spec).items() if value is not None}

        return Served(namespace=self.namespace, object=self.namespace.change("services", self.name, change))


@contextmanager
def bring_up(user: User, name: str, *args: str) -> Iterator[Cluster]:
    """A lab for as long as it lasts."""
    up = user.fairway("up", "--name", name, "--nodes", "4", *args)
    assert up.code == 0, up.err
    cluster = Cluster(user=user, name=name)
    try:
        yield cluster
    finally:
        cluster.close()
        assert user.fairway("down", "--name", name).code == 0


@contextmanager
def namespace_for(cluster: Cluster, test: str) -> Iterator[Namespace]:
    """A namespace with the name of a test; its pods are ended at once."""
    made = cluster.namespace(test.removeprefix("test_").partition("[")[0].replace("_", "-")[:63].strip("-"))
    yield made
    for place in [place for place in cluster._callers if place.startswith(f"{made.name}/")]:
        cluster.leave(place)
    made.done("DELETE", "pods", gracePeriodSeconds=0)
    cluster.ask("DELETE", NAMESPACES.path(name=made.name))
    Namespace(cluster=cluster, name="").gone("namespaces", made.name)


def service(name: str, *ports: Object, **spec: Any) -> Object:
    """A Service for the pods with the label app=NAME; a selector of None for none."""
    filled = {"selector": {"app": name}, "ports": list(ports), **spec}
    filled = {key: value for key, value in filled.items() if value is not None}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": filled}


def port(number: int, target: int | str | None = None, protocol: str = "TCP", **more: Any) -> Object:
    return {
        "name": f"{protocol.lower()}-{number}",
        "port": number,
        "targetPort": number if target is None else target,
        "protocol": protocol,
        **more,
    }


WEB = (port(80, HTTP), port(90, UDP, "UDP"))
"""What Services of netexec mostly offer."""


def netexec(*args: str, **more: Any) -> Object:
    """A container that tells who it is; ready once it answers."""
    number = next((int(arg.partition("=")[2]) for arg in args if arg.startswith("--http-port=")), HTTP)
    probe = {"httpGet": {"port": number, "path": "/healthz"}, "periodSeconds": 1, "timeoutSeconds": 10}
    return {"name": "netexec", "image": AGNHOST, "args": ["netexec", *args], "readinessProbe": probe, **more}


def pod(
    name: str, *containers: Object, app: str | None = None, node: str | None = None, grace: int = 0, **spec: Any
) -> Object:
    """A pod, of netexec where nothing else is said; app: the label that Services look for."""
    chosen = {} if node is None else {"affinity": {"nodeAffinity": required_node("In", node)}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {} if app is None else {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": grace,
            "containers": list(containers) or [netexec()],
            **chosen,
            **spec,
        },
    }


def required_node(operator: str, node: str) -> Object:
    """A nodeAffinity by the node's name, as the end-to-end tests place their pods: In or NotIn."""
    field = {"key": "metadata.name", "operator": operator, "values": [node]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]}}


def deployment(name: str, replicas: int, template: Object) -> Object:
    """Of pods with the label app=NAME; template: a pod, whose name is not used."""
    labels = {"app": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def slice_of(service: str, name: str, addresses: Iterable[str], ports: Sequence[Object], **more: Any) -> Object:
    """An EndpointSlice by hand."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": list(ports),
        **more,
    }


def condition(each: Mapping[str, Any], type_: str) -> str:
    """The status of a condition, "" where there is none."""
    conditions = each.get("status", {}).get("conditions") or ()
    return next((found["status"] for found in conditions if found["type"] == type_), "")


def is_ready(pod: Mapping[str, Any]) -> bool:
    return condition(pod, "Ready") == "True"
