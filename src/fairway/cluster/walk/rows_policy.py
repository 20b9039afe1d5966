"""S9 to S11: session affinity, externalTrafficPolicy, and what a load balancer adds."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

from fairway.api.types import Object
from fairway.base.addresses import Family, parse_address
from fairway.cluster.scenario import STUDY
from fairway.cluster.walk.facts import SELECTOR, SERVICE
from fairway.cluster.walk.language import Unseen
from fairway.cluster.walk.rows_service import call, node_port
from fairway.cluster.walk.settling import SETTLES_STEP_S, SETTLES_TRIES, rules_agree
from fairway.cluster.walk.stage import Stage
from fairway.dataplane.nft import layout
from fairway.plan.options import Mode

AFFINITY_TIMEOUT_S = 2
"""Short enough to be waited for in the walk; the API's default is three hours."""

CURL_TIMED_OUT = 28
"""Exit status of curl(1) where nothing answered in time; a connection that is refused gives 7."""

MASQUERADED_NODE_PORT = f"{layout.NODEPORT | layout.Policy.MASQUERADE:x}"
"""Mode nftables: what the class of a node port begins with whose callers' addresses are rewritten."""

STUDY_PODS = 3

HOLDER = "fairway.dev/load-balancer-node"
"""The annotation that names the node a load balancer's address is on."""


async def affinity(stage: Stage) -> None:
    """S9."""
    spec = {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": AFFINITY_TIMEOUT_S}},
    }
    await _patch(stage, SERVICE, spec)
    node = stage.scenario.control_plane
    remembers = {Mode.NFTABLES: "update @", Mode.IPTABLES: "-m recent"}[stage.scenario.mode]
    await rules_agree(stage, [node], remembers, present=True)

    clients = [stage.scenario.client, *stage.scenario.workers, *stage.scenario.bare_pods]
    met = {client: await _pods_met(stage, client, calls=5) for client in clients}
    stage.check("every call of one client meets one pod", all(len(pods) == 1 for pods in met.values()), met)

    first, moved = {client: pods[0] for client, pods in met.items()}, {}
    for _ in range(4):  # a client's new choice is the old one by chance once in three; seven clients, four times: never
        await asyncio.sleep(AFFINITY_TIMEOUT_S + 1)
        again = {client: await _pods_met(stage, client, calls=1) for client in clients}
        moved = {client: pods[0] for client, pods in again.items() if pods != [first[client]]}
        if moved:
            break
    stage.check(
        "until the timeout: after {seconds} s of silence clients may meet another",
        bool(moved),
        moved,
        seconds=AFFINITY_TIMEOUT_S,
    )
    await _patch(stage, SERVICE, {"sessionAffinity": "None"})
    await rules_agree(stage, [node], remembers, present=False)


async def local_policy(stage: Stage) -> None:
    """S10."""
    await stage.kubectl("patch", "svc", SERVICE, "-p", '{"spec":{"externalTrafficPolicy": "Local"}}')
    service = await stage.get("svc", SERVICE)
    policies = {name: value for name, value in service["spec"].items() if name.endswith("TrafficPolicy")}
    expected = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster"}
    stage.check("the policy is Local", policies == expected, policies)
    port = await node_port(stage)
    rewrites = {
        Mode.NFTABLES: rf"tcp \. {port} : {MASQUERADED_NODE_PORT}:",
        Mode.IPTABLES: "masquerade traffic for default/svc-nodeport",
    }[stage.scenario.mode]
    await rules_agree(stage, stage.scenario.nodes, rewrites, present=False)

    pods = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in await _study_pods(stage)}
    for node in stage.scenario.workers:
        told = await call(stage, stage.node_addresses[node]) or {}
        seen = {"pod": told.get("os", {}).get("hostname"), "peer": told.get("ip")}
        stage.check(
            "{node} answers with its own pod, which sees the client's own address",
            seen == {"pod": pods[node], "peer": stage.client_address},
            seen,
            node=node,
        )
    without = stage.node_addresses[stage.scenario.control_plane]
    curl = stage.curl("--connect-timeout", "1", stage.at(without, port))
    ran = await stage.run_in(stage.scenario.client, *curl)
    stage.check(
        "{node} has no pod and does not answer: curl times out (28), is not refused (7)",
        ran.code == CURL_TIMED_OUT,
        ran.code,
        node=stage.scenario.control_plane,
    )
    await stage.kubectl("patch", "svc", SERVICE, "-p", '{"spec":{"externalTrafficPolicy": "Cluster"}}')
    await rules_agree(stage, stage.scenario.nodes, rewrites, present=True)


async def load_balancer(stage: Stage) -> None:
    """S11."""
    await stage.kubectl("apply", "-f", str(STUDY / "svc-lb.yaml"))
    if stage.family is not stage.scenario.families[0]:
        await stage.kubectl("patch", "svc", "svc-lb", "-p", '{"spec":{"ipFamilyPolicy": "PreferDualStack"}}')
    service, holder = await _held_service(stage, unlike=None)
    (address,) = _ingresses(stage, service)
    health_port = service["spec"]["healthCheckNodePort"]
    await stage.kubectl("get", "svc", "svc-lb")
    stage.check("one address of its own", address not in stage.node_addresses.values(), address)

    told = await _answer(stage, address)
    stage.check(
        "it answers, and the pod sees the client's own address",
        told.get("ip") == stage.client_address,
        {"pod": told.get("os", {}).get("hostname"), "peer": told.get("ip")},
    )
    await _judge_health_checks(stage, health_port)
    await _judge_holder(stage, address, holder)

    victims = [pod["metadata"]["name"] for pod in await _study_pods(stage) if pod["spec"]["nodeName"] == holder]
    await stage.kubectl("cordon", holder)
    await stage.kubectl("delete", "pod", *victims)
    _, successor = await _held_service(stage, unlike=holder)
    stage.check(
        "{node} lost its pod: the address moved to a node that has one", successor != holder, successor, node=holder
    )
    told = await _answer(stage, address)
    stage.check(
        "the same address answers from there",
        told.get("ip") == stage.client_address,
        {"pod": told.get("os", {}).get("hostname"), "peer": told.get("ip")},
    )
    await _judge_health_checks(stage, health_port)
    await _judge_holder(stage, address, successor)
    await stage.kubectl("uncordon", holder)
    await stage.kubectl("delete", "svc", "svc-lb")


async def _judge_health_checks(stage: Stage, port: int) -> None:
    """Every node's health check node port: 200 with ready pods, 503 without."""
    for _ in range(SETTLES_TRIES):
        expected = await _expected_health(stage)
        seen = {node: await _ask_health(stage, node, port, quiet=True) for node in stage.scenario.nodes}
        if seen == expected and sum(count for _, count in expected.values()) == STUDY_PODS:
            break
        await asyncio.sleep(SETTLES_STEP_S)
    for node, (code, count) in expected.items():
        told = await _ask_health(stage, node, port)
        stage.check(
            "health check: {node} has {count} ready pods and answers {code}",
            told == (code, count),
            {"code": told[0], "localEndpoints": told[1]},
            node=node,
            count=count,
            code=code,
        )


async def _expected_health(stage: Stage) -> dict[str, tuple[str, int]]:
    """By node: the status its health check must answer with, and how many pods it must count."""
    nodes = [pod["spec"]["nodeName"] for pod in await _study_pods(stage)]
    return {node: ("200" if node in nodes else "503", nodes.count(node)) for node in stage.scenario.nodes}


async def _ask_health(stage: Stage, node: str, port: int, *, quiet: bool = False) -> tuple[str, int]:
    """The status and the number of local endpoints that a node's health check node port answers with."""
    curl = stage.curl("-w", " %{http_code}", f"http://{stage.at(stage.node_addresses[node], port)}/")
    ran = await stage.run_in(stage.scenario.client, *curl, quiet=quiet)
    body, _, code = ran.output.rpartition(" ")
    return code, int(json.loads(body)["localEndpoints"]) if body else -1


async def _judge_holder(stage: Stage, address: str, holder: str) -> None:
    """The client's neighbour table must name the holder's link for the address."""
    neighbours = await stage.run_in(stage.scenario.client, "ip", "neigh", "show", address)
    link = await stage.run_in(holder, "cat", "/sys/class/net/eth0/address", quiet=True)
    mac = link.output.strip()
    held, seen = bool(mac) and mac in neighbours.output, neighbours.output.strip()
    match stage.family:
        case Family.IPV4:
            stage.check("{node} answers ARP for it ({mac})", held, seen, node=holder, mac=mac)
        case Family.IPV6:
            stage.check("{node} answers neighbour solicitations for it ({mac})", held, seen, node=holder, mac=mac)


async def _held_service(stage: Stage, *, unlike: str | None) -> tuple[Object, str]:
    """The load balancer's Service once its address is on a node that is not `unlike`, and that node."""
    for _ in range(200):
        service: Object = await stage.get("svc", "svc-lb")
        holder = service["metadata"].get("annotations", {}).get(HOLDER)
        if _ingresses(stage, service) and holder and holder != unlike:
            return service, holder
        await asyncio.sleep(0.05)
    if unlike is None:
        raise Unseen("no node took the load balancer's address within 10 s")
    raise Unseen("{node} kept the load balancer's address for 10 s", node=unlike)


def _ingresses(stage: Stage, service: Object) -> list[str]:
    """Of the load balancer, those of the row's family."""
    found = [ingress["ip"] for ingress in service["status"].get("loadBalancer", {}).get("ingress") or ()]
    return [address for address in found if parse_address(address).version == stage.family]


async def _answer(stage: Stage, address: str) -> dict[str, Any]:
    """What the first answer at a load balancer's address says; {} if none came within 3 s."""
    curl = stage.curl("--connect-timeout", "3", "--retry", "3", "--retry-connrefused", stage.at(address))
    ran = await stage.run_in(stage.scenario.client, *curl)
    return {} if ran.code else ran.json()


async def _study_pods(stage: Stage) -> list[Object]:
    """The study's pods that are there to stay, and Ready."""
    pods = (await stage.get("pods", "-l", SELECTOR))["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


async def _pods_met(stage: Stage, client: str, *, calls: int) -> list[str]:
    """The distinct pods that answered a client's calls to the control plane's node port."""
    address = stage.node_addresses[stage.scenario.control_plane]
    port = await node_port(stage)
    curl = shlex.join(stage.curl("--connect-timeout", "1", stage.at(address, port)))
    script = f"for i in $(seq {calls}); do {curl}; done"
    ran = await stage.sh(client, f"{script} | grep -o 'deploy-echo-[^\"]*' | sort -u", quiet=calls == 1)
    return ran.output.split()


async def _patch(stage: Stage, service: str, spec: Object) -> None:
    await stage.kubectl("patch", "svc", service, "-p", json.dumps({"spec": spec}))
