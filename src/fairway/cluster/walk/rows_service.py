"""S1 to S6: objects applied, seen, answering, and nothing that listens."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import Counter
from typing import Any

from fairway.base.addresses import parse_address
from fairway.cluster.scenario import STUDY
from fairway.cluster.walk.facts import DEPLOYMENT, ENDPOINT_CHAINS, SELECTOR, SERVICE
from fairway.cluster.walk.settling import SETTLES_STEP_S, SETTLES_TRIES
from fairway.cluster.walk.stage import Stage

CALLS = 300
"""Enough that each pod's share settles near a third: the standard deviation of a share is then 2.7 %."""

CHI_SQUARE_LIMIT = 27.6
"""A fair choice among three exceeds this once in a million walks (chi-square, two degrees of freedom)."""


async def apply(stage: Stage) -> None:
    """S1."""
    files = ",".join(str(STUDY / name) for name in ("echo-deploy.yaml", "svc-nodeport.yaml"))
    async with stage.kubectl_like.watch(("get", "pods", "-w", "--no-headers")) as watching:
        first = await stage.kubectl("apply", "-f", files)
        expected = [f"deployment.apps/{DEPLOYMENT} created", f"service/{SERVICE} created"]
        stage.check("both objects are created", first.output.splitlines() == expected, first.output.splitlines())
        second = await stage.kubectl("apply", "-f", files)
        stage.check(
            "a second apply changes nothing",
            second.output.splitlines() == [line.replace("created", "unchanged") for line in expected],
            second.output.splitlines(),
        )
        rollout = await stage.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=30s")
        stage.check("the rollout completes", rollout.code == 0, rollout.output.splitlines()[-1:])
        await watching.until(lambda lines: len(_pods_seen(lines, "1/1", "Running")) == 3)
    starting = _pods_seen(watching.lines, "0/1", "ContainerCreating")
    running = _pods_seen(watching.lines, "1/1", "Running")
    stage.check(
        "each of three pods was seen as 0/1 ContainerCreating, then 1/1 Running (kubectl get pods -w)",
        len(running) == 3 and starting == running,
        [line for line in watching.lines if line.startswith(DEPLOYMENT)],
    )


async def both_families(stage: Stage) -> None:
    """S1 in a dual-stack lab: the study's Service gets a second family."""
    before = await stage.get("svc", SERVICE)
    await stage.kubectl("patch", "svc", SERVICE, "-p", '{"spec":{"ipFamilyPolicy": "PreferDualStack"}}')
    spec = (await stage.get("svc", SERVICE))["spec"]
    seen = {field: spec[field] for field in ("ipFamilyPolicy", "ipFamilies", "clusterIPs")}
    ranges = [each.service_cidr for each in stage.scenario.topology.ranges]
    own = [parse_address(address) for address in spec["clusterIPs"]]
    stage.check(
        "it has a ClusterIP of each family, its first family first",
        spec["ipFamilies"] == [family.api_name for family in stage.scenario.families]
        and len(own) == len(ranges)
        and all(address in cidr for address, cidr in zip(own, ranges, strict=True)),
        seen,
    )
    kept = {"clusterIP": spec["clusterIP"], "nodePort": spec["ports"][0]["nodePort"]}
    stage.check(
        "its first ClusterIP and its node port stay; one node port number serves both families",
        kept == {"clusterIP": before["spec"]["clusterIP"], "nodePort": before["spec"]["ports"][0]["nodePort"]},
        kept,
    )
    by_type = await _addresses_by_type(stage)
    expected = {family.api_name: sorted(ENDPOINT_CHAINS[family]) for family in stage.scenario.families}
    stage.check("its endpoints stand in slices of their own for each family", by_type == expected, by_type)
    await stage.kubectl("get", "endpointslices", "-l", f"kubernetes.io/service-name={SERVICE}")


async def look(stage: Stage) -> None:
    """S2."""
    listing = await stage.kubectl("get", "deploy,pod", "-o", "wide")
    deployment_header = "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR"
    pod_header = "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    headers = [" ".join(line.split()) for line in listing.output.splitlines() if line.startswith("NAME")]
    stage.check("the study's columns", headers == [deployment_header, pod_header], headers)
    pods = (await stage.get("pods", "-l", SELECTOR))["items"]
    names = [pod["metadata"]["name"] for pod in pods]
    pattern = re.compile(rf"{DEPLOYMENT}-[bcdfghjklmnpqrstvwxz2456789]{{8,10}}-[bcdfghjklmnpqrstvwxz2456789]{{5}}")
    stage.check("pods are named deploy-echo-<hash>-<5>", all(pattern.fullmatch(name) for name in names), names)
    nodes = sorted(pod["spec"]["nodeName"] for pod in pods)
    workers = sorted(stage.scenario.workers)
    stage.check("one replica on each worker, none on the tainted control plane", nodes == workers, nodes)
    await stage.kubectl("get", "nodes", "-o", "wide")
    addresses = {item["metadata"]["name"]: _internal_ip(item) for item in (await stage.get("nodes"))["items"]}
    stage.check("the four nodes have the study's addresses", addresses == stage.node_addresses, addresses)
    await stage.kubectl("get", "svc", SERVICE)
    service = await stage.get("svc", SERVICE)
    port = service["spec"]["ports"][0]
    stage.check(
        "the Service has a ClusterIP, port 9000 and a node port from 30000-32767",
        port["port"] == 9000 and 30000 <= port["nodePort"] <= 32767 and service["spec"]["clusterIP"],
        {"clusterIP": service["spec"]["clusterIP"], **port},
    )


async def echo(stage: Stage) -> None:
    """S3."""
    node = stage.scenario.control_plane
    address = stage.node_addresses[node]
    port = await node_port(stage)
    asked = stage.at(address, port)
    curl = stage.curl("--connect-timeout", "2", "-X", "PUT", f"http://{asked}/a/path?with=query")
    answered = await stage.run_in(stage.scenario.client, *curl)
    told = answered.json()
    stage.check("it tells path and method", (told["path"], told["method"]) == ("/a/path", "PUT"), told["path"])
    stage.check("it tells the headers", told["headers"]["host"] == asked, told["headers"])
    stage.check("`hostname` is the host that was asked", told["hostname"] == stage.at(address), told["hostname"])
    stage.check("`ip` is the peer it sees", bool(told["ip"]), told["ip"])
    names = {pod["metadata"]["name"] for pod in (await stage.get("pods", "-l", SELECTOR))["items"]}
    stage.check("`os.hostname` is the pod's name", told["os"]["hostname"] in names, told["os"])


async def nothing_listens(stage: Stage) -> None:
    """S4."""
    port = await node_port(stage)
    for node in stage.scenario.nodes:
        listening = await stage.run_in(node, "ss", "-tlnp")
        ports = sorted({int(line.split()[3].rpartition(":")[2]) for line in listening.output.splitlines()[1:]})
        stage.check(
            "nothing on {node} listens on {port}", bool(ports) and port not in ports, ports, node=node, port=port
        )


async def every_node_answers(stage: Stage) -> None:
    """S5."""
    for node, address in stage.node_addresses.items():
        told = (await call(stage, address)) or {}
        hostname = told.get("os", {}).get("hostname")
        stage.check("{node} answers, through {pod}", bool(hostname), hostname, node=node, pod=hostname)


async def spread(stage: Stage) -> None:
    """S6."""
    address = stage.node_addresses[stage.scenario.control_plane]
    port = await node_port(stage)
    curl = shlex.join(stage.curl("--connect-timeout", "2", stage.at(address, port)))
    script = f"for i in $(seq {CALLS}); do {curl}; done | grep -o 'deploy-echo-[^\"]*'"
    answers = await stage.sh(stage.scenario.client, f"{script} | sort | uniq -c")
    counts = Counter({name: int(count) for count, name in (line.split() for line in answers.output.splitlines())})
    stage.check("all {calls} calls were answered", counts.total() == CALLS, counts.total(), calls=CALLS)
    expected = CALLS / 3
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    stage.check(
        "each of three pods got about a third (chi-square below {limit})",
        len(counts) == 3 and chi_square < CHI_SQUARE_LIMIT,
        {**counts, "chi-square": round(chi_square, 2)},
        limit=CHI_SQUARE_LIMIT,
    )


async def node_port(stage: Stage, service: str = SERVICE) -> int:
    """The node port the API server gave the Service's first port."""
    return int((await stage.get("svc", service))["spec"]["ports"][0]["nodePort"])


async def call(
    stage: Stage, address: str, *, quiet: bool = False, local_port: int | None = None
) -> dict[str, Any] | None:
    """One call of the client to the node port at an address; None if nothing answered within a second."""
    url = stage.at(address, await node_port(stage))
    source = () if local_port is None else ("--local-port", str(local_port))
    curl = stage.curl("--connect-timeout", "1", *source, url)
    ran = await stage.run_in(stage.scenario.client, *curl, quiet=quiet)
    return None if ran.code else ran.json()


async def _addresses_by_type(stage: Stage) -> dict[str, list[str]]:
    """The addresses of the Service's slices, once there is one of each of the lab's families."""
    found: dict[str, list[str]] = {}
    for _ in range(SETTLES_TRIES):
        found = {}
        for item in (await stage.get("endpointslices", "-l", f"kubernetes.io/service-name={SERVICE}"))["items"]:
            addresses = [endpoint["addresses"][0] for endpoint in item["endpoints"] or ()]
            found[item["addressType"]] = sorted([*found.get(item["addressType"], ()), *addresses])
        if len(found) == len(stage.scenario.families) and all(found.values()):
            break
        await asyncio.sleep(SETTLES_STEP_S)
    return found


def _pods_seen(lines: list[str], ready: str, status: str) -> set[str]:
    """The study's pods that a watch showed with these READY and STATUS columns."""
    return {line.split()[0] for line in lines if line.startswith(DEPLOYMENT) and line.split()[1:3] == [ready, status]}


def _internal_ip(node: dict[str, Any]) -> str | None:
    """The primary one."""
    return next((entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"), None)
