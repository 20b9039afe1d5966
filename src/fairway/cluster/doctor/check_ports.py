"""What else is at work at the ports of a node: processes that listen, and the agent's own answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from ipaddress import ip_address

from fairway.base.text import one_line
from fairway.cluster.doctor.case import Case, Opening
from fairway.cluster.doctor.facts import Listener, NodeFacts
from fairway.cluster.doctor.finding import Finding, Mend, Severity, some
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import DoorKind, HealthCheck, Plan


def listeners(case: Case) -> Iterator[Finding]:
    """A process of the node waits at a node port: the rules are asked before any socket."""
    for name, facts in case.facts.items():
        openings = {
            (str(opening.door.protocol), opening.door.port): opening for opening in case.doors(name, DoorKind.NODE_PORT)
        }
        found: dict[tuple[str, int], list[Listener]] = {}
        for listener in facts.listeners:
            place = listener.protocol, listener.port
            if place in openings and _is_shadowed(listener, case.plans[name]):
                found.setdefault(place, []).append(listener)
        for place, some_listeners in sorted(found.items()):
            yield _shadowed(name, openings[place], some_listeners)


def _is_shadowed(listener: Listener, plans: tuple[Plan, ...]) -> bool:
    """Whether the address it waits at takes node ports."""
    address = ip_address(listener.address)
    if address.is_unspecified:
        return True
    return any(Evaluator(plan).takes_node_ports(address) for plan in plans if plan.family == address.version)


def _shadowed(node: str, opening: Opening, listeners: list[Listener]) -> Finding:
    first = max(listeners, key=lambda listener: listener.pid)
    process = f"{one_line(first.process)} (pid {first.pid})" if first.pid else "a process that cannot be seen from here"
    place = f"{opening.door.port}/{opening.door.protocol}"
    mend = Mend.of(f"kill {first.pid}", node=node) if first.pid else Mend.of("ss -lntup", node=node)
    return Finding(
        check="port-taken",
        severity=Severity.FAULT,
        node=node,
        about=place,
        what=f"{process} listens on the node port {place} of {opening.port.name}",
        evidence=f"sockets at {some(_at(listener) for listener in listeners)}",
        consequence="what is sent to the port from outside goes to the Service's pods and never to this process; stop "
        "it, or give one of the two another port",
        mend=mend,
    )


def _at(listener: Listener) -> str:
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"{host}:{listener.port}/{listener.protocol}"


def agents(case: Case) -> Iterator[Finding]:
    """The node's agent is dead, or lags behind."""
    if case.view is None:
        return
    for name, facts in case.facts.items():
        if facts.agent in (None, HTTPStatus.OK):
            continue
        lags = facts.agent == HTTPStatus.SERVICE_UNAVAILABLE
        answer = f"answers {facts.agent}" if facts.agent else "has nobody who answers"
        yield Finding(
            check="agent",
            severity=Severity.FAULT,
            node=name,
            about="127.0.0.1:10256",
            what="the node's proxy has not brought its rules up to date" if lags else "no proxy answers on the node",
            evidence=f"http://127.0.0.1:10256/healthz {answer}",
            consequence="what changes in the cluster does not reach the node's rules: calls go to endpoints that are "
            "gone, and load balancers leave the node out",
            mend=Mend.of("curl -s http://127.0.0.1:10256/healthz", node=name),
        )


def names(case: Case) -> Iterator[Finding]:
    """An agent goes by a name that no Node has, so that no endpoint is local to it."""
    if case.view is None:
        return
    known = [node.metadata.name for node in case.nodes]
    for name, facts in case.facts.items():
        for proxy in facts.proxies:
            if proxy.node in known:
                continue
            yield Finding(
                check="node-name",
                severity=Severity.FAULT,
                node=name,
                about=f"pid {proxy.pid}",
                what=f"the proxy calls itself {one_line(proxy.node)}, and there is no such Node",
                evidence=f"{one_line(proxy.name)} (pid {proxy.pid}) runs as {one_line(proxy.node)}; the nodes are: "
                f"{some(known)}",
                consequence="no endpoint is on this node for it: everything with a policy Local is dropped here; start "
                "it with --hostname-override",
                mend=Mend.of("kubectl get nodes -o wide"),
            )


def health_checks(case: Case) -> Iterator[Finding]:
    """A health check node port that does not say what the Plan says."""
    for name, facts in case.facts.items():
        checks: dict[int, tuple[HealthCheck, bool]] = {}
        for plan in case.plans.get(name, ()):
            for check in plan.health_checks:
                ready = check.local_endpoints > 0 or checks.get(check.port, (check, False))[1]
                checks[check.port] = check, ready
        for check, ready in checks.values():
            if check.port in facts.health_checks:
                yield from _judge(name, facts, check, ready)


def _judge(node: str, facts: NodeFacts, check: HealthCheck, ready: bool) -> Iterator[Finding]:
    told = facts.health_checks[check.port]
    expected = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    if told == expected:
        return
    yield Finding(
        check="health-check",
        severity=Severity.FAULT,
        node=node,
        about=f"Service {check.namespace}/{check.service}",
        what=f"the health check node port {check.port} tells load balancers the wrong thing",
        evidence=f"it {f'answers {told}' if told else 'does not answer'}, and with {check.local_endpoints} ready "
        f"endpoints here it should answer {int(expected)}",
        consequence="load balancers send to a node that drops the calls"
        if told == HTTPStatus.OK
        else "load balancers leave out a node that has endpoints",
        mend=Mend.of(f"curl -si http://127.0.0.1:{check.port}/", node=node),
    )


def addresses(case: Case) -> Iterator[Finding]:
    """Node ports that are open at no address of the node."""
    for node in case.nodes:
        name = node.metadata.name
        for plan in case.plans[name]:
            networks = plan.node_port_addresses
            if networks is None or any(own in network for network in networks for own in plan.node_addresses):
                continue
            ports = [f"{opening.door.port} ({opening.port.name})" for opening in case.doors(name, DoorKind.NODE_PORT)]
            if ports:
                yield Finding(
                    check="node-port-addresses",
                    severity=Severity.FAULT,
                    node=name,
                    about=plan.family.api_name,
                    what=f"node ports are open at none of the node's {plan.family.api_name} addresses",
                    evidence=f"nodePortAddresses is {some(map(str, networks))}, and the node has "
                    f"{some(map(str, plan.node_addresses))}",
                    consequence=f"calls to {some(ports)} are refused here, on this node alone",
                    mend=Mend(("kubectl", "-n", "kube-system", "edit", "configmap", "kube-proxy")),
                )
