"""S12 and S13: readiness, EndpointSlices, and the ClusterIP that pods use."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from fairway.api.types import Object
from fairway.base.addresses import parse_address
from fairway.cluster.scenario import STUDY
from fairway.cluster.walk.facts import DEPLOYMENT, SELECTOR, SERVICE, SERVICE_PORT, SLICE_LIMIT, TARGET_PORT
from fairway.cluster.walk.language import Unseen
from fairway.cluster.walk.rows_service import call
from fairway.cluster.walk.settling import rules_with
from fairway.cluster.walk.stage import Stage
from fairway.plan.options import Mode

UNREADY = "/tmp/unready"  # noqa: S108 - a file in the pod's own /tmp, made by the walk to fail a probe
PROBE: Object = {
    "exec": {"command": ["test", "!", "-e", UNREADY]},
    "periodSeconds": 1,
    "failureThreshold": 1,
}


async def readiness(stage: Stage) -> None:
    """S12, first half: a probe that fails takes its pod out of the slice and of every node's rules."""
    await _add_probe(stage)
    pods = (await stage.get("pods", "-l", SELECTOR))["items"]
    victim = pods[0]
    name, address = victim["metadata"]["name"], _address(stage, victim)
    await _rules_of_every_node(stage, address, present=True)

    await stage.kubectl("exec", name, "--", "touch", UNREADY)
    await stage.kubectl("wait", f"pod/{name}", "--for=condition=Ready=false", "--timeout=10s")
    await _rules_of_every_node(stage, address, present=False)
    await stage.kubectl("get", "pod", name)
    ready = await _ready_addresses(stage, SERVICE)
    stage.check("its probe fails: it left the slice's ready endpoints", address not in ready, ready)
    held = await _rules_of_every_node(stage, address, present=False)
    stage.check("no node's rules lead to it", not any(held.values()), held)
    met = {(await call(stage, node, quiet=True) or {}).get("os", {}).get("hostname") for node in _node_cycle(stage)}
    stage.check("the calls go to the others", len(met) == 2 and name not in met, sorted(map(str, met)))

    await stage.kubectl("exec", name, "--", "rm", UNREADY)
    await stage.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=10s")
    held = await _rules_of_every_node(stage, address, present=True)
    ready = await _ready_addresses(stage, SERVICE)
    stage.check("its probe succeeds: it is back in the slice", address in ready, ready)
    stage.check("and in every node's rules", all(held.values()), held)


async def slices(stage: Stage) -> None:
    """S12, second half: slices hold at most 100 endpoints, so a change sends one of them."""
    await stage.kubectl("apply", "-f", str(STUDY / "many-pods.yaml"))
    await stage.kubectl("rollout", "status", "deployment/deploy-many", "--timeout=90s", quiet=True)
    before = await _settled_slices(stage, "svc-many", endpoints=104)
    await stage.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=svc-many")
    sizes = sorted(len(item["endpoints"] or ()) for item in before.values())
    stage.check(
        "104 endpoints stand in several slices of at most {limit}",
        len(sizes) > 1 and max(sizes) <= SLICE_LIMIT and sum(sizes) == 104,
        sizes,
        limit=SLICE_LIMIT,
    )
    await stage.kubectl("scale", "deployment/deploy-many", "--replicas=103")
    after = await _settled_slices(stage, "svc-many", endpoints=103)
    changed = [name for name, item in after.items() if item["metadata"] != before.get(name, {}).get("metadata")]
    stage.check("one pod less changed one slice, the others were not sent", len(changed) == 1, changed)
    await stage.kubectl("delete", "-f", str(STUDY / "many-pods.yaml"), "--wait=false")


async def cluster_ip(stage: Stage) -> None:
    """S13."""
    service = await stage.get("svc", SERVICE)
    families = service["spec"]["ipFamilies"]
    address = service["spec"]["clusterIPs"][families.index(stage.family.api_name)]
    pods = (await stage.get("pods"))["items"]
    studied = [pod for pod in pods if pod["metadata"].get("ownerReferences") and DEPLOYMENT in pod["metadata"]["name"]]
    chosen = {pod["spec"]["nodeName"]: pod for pod in pods if pod in studied}
    chosen |= {pod["spec"]["nodeName"]: pod for pod in pods if not pod["metadata"].get("ownerReferences")}
    for node in stage.scenario.nodes:
        pod = chosen[node]
        name = pod["metadata"]["name"]
        url = stage.at(address, SERVICE_PORT)
        ran = await stage.kubectl("exec", name, "--", *stage.curl("--connect-timeout", "1", url))
        told: dict[str, Any] = {} if ran.code else ran.json()
        seen = {"answered": told.get("os", {}).get("hostname"), "peer": told.get("ip")}
        own = _address(stage, pod)
        hairpin = told.get("os", {}).get("hostname") == name
        stage.check(
            "pod {pod} on {node} reaches {url}, and is seen by its own address",
            bool(seen["answered"]) and (hairpin or seen["peer"] == own),
            seen,
            pod=name,
            node=node,
            url=url,
        )


async def _add_probe(stage: Stage) -> None:
    """Give the study's pods a readiness probe that a file in their /tmp fails."""
    deployment = await stage.get("deployment", DEPLOYMENT)
    container = deployment["spec"]["template"]["spec"]["containers"][0]["name"]
    containers = [{"name": container, "readinessProbe": PROBE}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    await stage.kubectl("patch", "deployment", DEPLOYMENT, "-p", json.dumps(patch))
    await stage.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=60s", quiet=True)
    for _ in range(200):
        pods = (await stage.get("pods", "-l", SELECTOR))["items"]
        if len(pods) == 3:
            return
        await asyncio.sleep(0.05)
    raise Unseen("the pods without the probe are still there after 10 s")


async def _rules_of_every_node(stage: Stage, address: str, *, present: bool) -> dict[str, bool]:
    """Which nodes' rules lead to an address, once all agree with `present` or the last try was made."""
    written = {Mode.NFTABLES: f"{address} . {TARGET_PORT}", Mode.IPTABLES: stage.at(address, TARGET_PORT)}
    pattern = re.escape(written[stage.scenario.mode]) + r"\b"
    return await rules_with(stage, stage.scenario.nodes, pattern, until=present)


async def _ready_addresses(stage: Stage, service: str) -> list[str]:
    found = await stage.kubectl(
        "get", "endpointslices", "-l", f"kubernetes.io/service-name={service}", "-o", "json", quiet=True
    )
    items = [item for item in found.json()["items"] if item["addressType"] == stage.family.api_name]
    endpoints = [endpoint for item in items for endpoint in item["endpoints"] or ()]
    return sorted(endpoint["addresses"][0] for endpoint in endpoints if endpoint["conditions"]["ready"])


async def _settled_slices(stage: Stage, service: str, *, endpoints: int) -> dict[str, Object]:
    """The Service's slices by name once they hold so many ready endpoints and no other."""
    for _ in range(300):
        items = (await stage.get("endpointslices", "-l", f"kubernetes.io/service-name={service}"))["items"]
        every = [endpoint for item in items for endpoint in item["endpoints"] or ()]
        if len(every) == endpoints and all(endpoint["conditions"]["ready"] for endpoint in every):
            return {item["metadata"]["name"]: item for item in items}
        await asyncio.sleep(0.1)
    raise Unseen(
        "the slices of {service} did not come to {endpoints} ready endpoints within 30 s",
        service=service,
        endpoints=endpoints,
    )


def _node_cycle(stage: Stage) -> list[str]:
    """Every node's address several times: 24 calls miss one of two pods by chance once in eight million walks."""
    return list(stage.node_addresses.values()) * 6


def _address(stage: Stage, pod: Object) -> str:
    """A pod's, of the row's family."""
    found = [str(each["ip"]) for each in pod["status"]["podIPs"]]
    return next(address for address in found if parse_address(address).version == stage.family)
