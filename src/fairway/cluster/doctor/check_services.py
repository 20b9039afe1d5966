"""Services that cannot do what they are there for, as their objects alone tell. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping

from fairway.api.core import Container, Node, Pod, Service, ServiceType, TrafficPolicy
from fairway.api.discovery import EndpointSlice
from fairway.base.text import one_line
from fairway.cluster.doctor.case import Case, Wanted, WantedPort
from fairway.cluster.doctor.finding import Finding, Mend, Severity, some
from fairway.controllers.loadbalancer import EXCLUDE_LABEL, NODE_ANNOTATION
from fairway.plan.compile import is_programmed
from fairway.plan.doors import origin_of
from fairway.plan.model import DoorKind


def selectors(case: Case) -> Iterator[Finding]:
    """A selector that no pod matches."""
    for service in _with_selector(case):
        if case.pods_of(service):
            continue
        selector = case.wanted[service.metadata.key].spec.selector
        near, labels = _nearest(case, service, selector)
        text = _selector_text(selector)
        evidence = f"no pod of namespace {service.metadata.namespace} has {text}"
        if near:
            evidence += f"; {some(near)} {'has' if len(near) == 1 else 'have'} {_selector_text(labels)}"
        yield Finding(
            check="selector",
            severity=Severity.FAULT,
            about=_name(service),
            what="its selector matches no pod",
            evidence=evidence,
            consequence="it has no endpoints: every call is rejected at once (connection refused)",
            mend=_patch(service, {"selector": labels}) if near else _kubectl(service, "get", "pods", "--show-labels"),
        )


def _nearest(case: Case, service: Service, selector: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Pods with nearly such labels, and what the selector would have to be for them."""
    assert case.view is not None
    pods = [pod for pod in case.view.pods if pod.metadata.namespace == service.metadata.namespace and not pod.is_over]
    mended: dict[str, str] = {}
    for key, value in selector.items():
        values = sorted({pod.metadata.labels[key] for pod in pods if key in pod.metadata.labels})
        close = [value] if value in values else difflib.get_close_matches(value, values, n=1, cutoff=0.6)
        if not close:
            return [], {}
        mended[key] = close[0]
    return [pod.metadata.name for pod in pods if mended.items() <= pod.metadata.labels.items()], mended


def endpoints(case: Case) -> Iterator[Finding]:
    """Slices without a ready endpoint."""
    for service in case.services:
        if service.spec.type is ServiceType.EXTERNAL_NAME or not service.spec.ports:
            continue
        wanted = case.wanted.get(service.metadata.key)
        has_selector = wanted is not None and bool(wanted.spec.selector)
        if has_selector and (not case.pods_of(service) or any(_unnamed(case, service))):
            continue  # it is told by another check why there is none
        slices = case.slices.get(service.metadata.key, [])
        found = [endpoint for each in slices for endpoint in each.endpoints]
        if any(endpoint.ready for endpoint in found):
            continue
        serving = sum(endpoint.serving and endpoint.terminating for endpoint in found)
        yield Finding(
            check="endpoints",
            severity=Severity.RISK if serving else Severity.FAULT,
            about=_name(service),
            what="none of its endpoints is ready" if found else "it has no endpoints",
            evidence=_endpoint_evidence(case, service, slices),
            consequence=f"calls go to {serving} that terminate, and are rejected once these are gone"
            if serving
            else "every call is rejected at once (connection refused)",
            mend=_kubectl(service, "describe", "pods", "-l", _selector_text(wanted.spec.selector))
            if wanted is not None and has_selector
            else _kubectl(
                service, "get", "endpointslices", "-l", f"kubernetes.io/service-name={service.metadata.name}"
            ),
        )


def _endpoint_evidence(case: Case, service: Service, slices: list[EndpointSlice]) -> str:
    count = sum(len(each.endpoints) for each in slices)
    told = f"{_count(len(slices), 'EndpointSlice')} with {_count(count, 'endpoint')}, 0 ready"
    pods = [f"{pod.metadata.name} ({pod.status.phase or 'Unknown'})" for pod in case.pods_of(service)]
    return f"{told}; its pods: {some(pods)}" if pods else told


def target_ports(case: Case) -> Iterator[Finding]:
    """A target port that no container of the pods has."""
    for service in _with_selector(case):
        pods = case.pods_of(service)
        if not pods:
            continue
        wanted = case.wanted[service.metadata.key]
        for index, port in enumerate(wanted.spec.ports):
            target = port.target_port if port.target_port not in (None, "", 0) else port.port
            declared = _declared(pods, port)
            if not any(declared.values()) and isinstance(target, int):
                continue  # containers need not say what they listen to, and these say nothing
            matching = any(target in names for names in declared.values())
            if not matching:
                yield _target_port(service, wanted, index, target, declared)


def _declared(pods: Iterable[Pod], port: WantedPort) -> dict[str, set[int | str]]:
    """The numbers and names of the ports that containers declare for the protocol, by pod."""
    return {
        pod.metadata.name: {
            value
            for container in _containers(pod)
            for each in container.ports
            if each.protocol is port.protocol
            for value in (each.container_port, each.name)
            if value
        }
        for pod in pods
    }


def _containers(pod: Pod) -> Iterator[Container]:
    """Those that a target port's name is looked for in: sidecars too (`FindPort` in pkg/api/v1/pod)."""
    yield from pod.spec.containers
    yield from (container for container in pod.spec.init_containers if container.restart_policy == "Always")


def _unnamed(case: Case, service: Service) -> Iterator[str]:
    """The names of target ports that no container has."""
    pods = case.pods_of(service)
    for port in case.wanted[service.metadata.key].spec.ports:
        declared = _declared(pods, port).values()
        if isinstance(port.target_port, str) and not any(port.target_port in names for names in declared):
            yield port.target_port


def _target_port(
    service: Service, wanted: Wanted, index: int, target: int | str, declared: Mapping[str, set[int | str]]
) -> Finding:
    port = wanted.spec.ports[index]
    numbers = sorted({value for names in declared.values() for value in names if isinstance(value, int)})
    names = sorted({value for values in declared.values() for value in values if isinstance(value, str)})
    named = isinstance(target, str)
    ports = [{"port": port.port, "protocol": str(port.protocol), "targetPort": numbers[0]}] if len(numbers) == 1 else []
    told = some(map(str, numbers)) or "none"
    if names:
        told += f" (named {some(names)})"
    return Finding(
        check="target-port",
        severity=Severity.FAULT if named else Severity.RISK,
        about=f"{_name(service)}: spec.ports[{index}]",
        what=f"no container of its pods has the target port {one_line(str(target))}",
        evidence=f"targetPort is {one_line(str(target))}/{port.protocol}; the containers of {some(declared)} "
        f"declare: {told}",
        consequence="the port has no endpoints, and every call is rejected"
        if named
        else "unless a process listens there all the same, every call is refused by the pod itself",
        mend=_patch(service, {"ports": ports})
        if ports
        else _kubectl(service, "get", "pods", "-l", _selector_text(wanted.spec.selector), "-o", "yaml"),
    )


def local_policies(case: Case) -> Iterator[Finding]:
    """externalTrafficPolicy Local on nodes that callers come by and that have no endpoint."""
    for service in case.services:
        local = service.spec.external_traffic_policy is TrafficPolicy.LOCAL
        if not (local and is_programmed(service) and service.is_externally_reachable):
            continue
        ready = {
            endpoint.node_name
            for each in case.slices.get(service.metadata.key, [])
            for endpoint in each.endpoints
            if endpoint.ready and endpoint.node_name
        }
        if not ready:
            continue  # nothing to be local, which `endpoints` tells
        callers = _entries(case, service)
        without = sorted(callers - ready)
        if not without:
            continue
        if service.spec.type is ServiceType.LOAD_BALANCER and callers & ready:
            continue  # its health checks tell the load balancer which nodes to leave out
        yield _local(service, ready, callers, without)


def _entries(case: Case, service: Service) -> set[str]:
    """The nodes that calls from outside come by: all for node ports, those of its load balancer else."""
    holder = service.metadata.annotations.get(NODE_ANNOTATION, "")
    if service.spec.type is ServiceType.LOAD_BALANCER:
        return {holder} if holder else {node.metadata.name for node in case.nodes if _is_balanced(node)}
    return {node.metadata.name for node in case.nodes if _is_balanced(node)}


def _is_balanced(node: Node) -> bool:
    return EXCLUDE_LABEL not in node.metadata.labels


def _local(service: Service, ready: set[str], callers: set[str], without: list[str]) -> Finding:
    balanced = service.spec.type is ServiceType.LOAD_BALANCER
    nobody = not callers & ready
    who = "its load balancer's" if balanced else "some"
    what = "none of the nodes its load balancer uses has an endpoint" if balanced else f"{who} nodes have no endpoint"
    return Finding(
        check="local-policy",
        severity=Severity.FAULT if nobody else Severity.RISK,
        about=_name(service),
        what=f"externalTrafficPolicy is Local, and {what}",
        evidence=f"ready endpoints are on {some(sorted(ready))}; calls come by {some(sorted(callers))}",
        consequence=f"calls that come by {some(without)} are dropped without an answer"
        + ("" if balanced else "; a node port has no health check, so nobody tells the clients"),
        mend=_patch(service, {"externalTrafficPolicy": "Cluster"}),
    )


def unusable(case: Case) -> Iterator[Finding]:
    """What the agents leave out of their rules, as they log it: addresses that are none, doors of somebody else's."""
    told: dict[tuple[str, str], str] = {}
    for name, plans in case.plans.items():
        for plan in plans:
            for note in plan.notes:
                told.setdefault((str(note.origin), note.message), name)
    for origin, message in sorted(told):
        yield Finding(
            check="left-out",
            severity=Severity.RISK,
            about=one_line(origin),
            what="the nodes' proxies do not use it",
            evidence=one_line(message),
            consequence="what it says is not in the rules of any node",
            mend=Mend.of("kubectl get services,endpointslices,nodes -A -o wide"),
        )


def source_ranges(case: Case) -> Iterator[Finding]:
    """loadBalancerSourceRanges that admit nobody."""
    told: set[str] = set()
    for node in case.nodes:
        for opening in case.doors(node.metadata.name, DoorKind.LOAD_BALANCER_IP):
            name = f"{opening.port.name.namespace}/{opening.port.name.service}"
            if opening.door.allowed_sources != () or name in told:
                continue
            told.add(name)
            service = next(each for each in case.services if str(each.metadata.key) == name)
            ranges = service.spec.load_balancer_source_ranges
            yield Finding(
                check="source-ranges",
                severity=Severity.FAULT,
                about=_name(service),
                what="its loadBalancerSourceRanges admit nobody",
                evidence=str(origin_of(service, "spec.loadBalancerSourceRanges", some(ranges))),
                consequence="every call to the load balancer's address is dropped without an answer",
                mend=_patch(service, {"loadBalancerSourceRanges": None}),
            )


def _with_selector(case: Case) -> Iterator[Service]:
    for service in case.services:
        wanted = case.wanted.get(service.metadata.key)
        if wanted is not None and wanted.spec.selector and service.spec.type is not ServiceType.EXTERNAL_NAME:
            yield service


def _name(service: Service) -> str:
    return f"Service {service.metadata.key}"


def _kubectl(service: Service, *words: str) -> Mend:
    verb, *rest = words
    return Mend(("kubectl", "-n", service.metadata.namespace, verb, *rest))


def _patch(service: Service, spec: Mapping[str, object]) -> Mend:
    """A strategic merge, in which the ports of a Service are known by their numbers."""
    patch = json.dumps({"spec": spec}, separators=(",", ":"))
    return _kubectl(service, "patch", "service", service.metadata.name, "-p", patch)


def _selector_text(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in selector.items())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
