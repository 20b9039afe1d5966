"""The way back to a difference: the least objects with which it shows, and the command that shows it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import yaml

from fairway.api.codec import decode_cluster
from fairway.api.types import Object
from fairway.base.addresses import Family, format_host
from fairway.cluster.scratch import in_scratch, in_scratches
from fairway.cluster.verify.jobs import Job, assemble, packet_job
from fairway.cluster.verify.run import AGENTS, Difference, Findings, Planes, proof
from fairway.cluster.verify.shrink import shrink
from fairway.flow.packet import Packet
from fairway.plan.assembly import Assembly
from fairway.plan.options import PRIMARY, LocalMode, Mode, Options

_KINDS = ("Service", "EndpointSlice", "Node", "ServiceCIDR")
"""What a Plan is made of."""
_SENDS = 32
"""How often the packet is sent in each trial, for what shows by chance only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What a difference was cut down to.

    objects: with which it shows, and what of the options no flag can say. alone: whether it shows with its packet
    alone, else only after those that were sent before it, and then nothing is cut away.
    """

    objects: Sequence[Object]
    options: Options
    alone: bool


def run_job(job: Job, planes: Planes = AGENTS) -> Findings:
    """In a scratch namespace. Raises as `in_scratch` does, FairwayError where the machine lacks something."""
    return in_scratch(_proof(job, planes))


def run_jobs(jobs: Iterable[Job], planes: Planes = AGENTS) -> Iterator[tuple[Job, Findings]]:
    """All of them, in their order, as many at a time as there are processors. Raises as `run_job` does."""
    begun: deque[Job] = deque()

    def proofs() -> Iterator[Callable[[], Findings]]:
        for job in jobs:
            begun.append(job)
            yield _proof(job, planes)

    for findings in in_scratches(proofs(), at_once=len(os.sched_getaffinity(0))):
        yield begun.popleft(), findings


def _proof(job: Job, planes: Planes) -> Callable[[], Findings]:
    return proof(job.assembly, job.options.mode, job.probes, planes=planes)


def reproduce(job: Job, difference: Difference, planes: Planes = AGENTS) -> Reproduction:
    """Find the least objects and the plainest options with which the difference shows: as much said, as much seen."""
    kind = _kind(difference)

    def differs(objects: Sequence[Object], options: Options) -> bool:
        view = decode_cluster(objects)
        assembly = assemble(view, job.node, options)
        if not _can_send(difference.probe.packet, assembly):
            return False
        one = packet_job(objects, view, options, node=job.node, probe=difference.probe)
        probes = [difference.probe] * _SENDS
        found = run_job(replace(one, probes=probes), planes).differences
        return any(_kind(each) == kind for each in found)

    objects = [obj for obj in job.objects if obj.get("kind") in _KINDS]
    if not differs(objects, job.options):
        return Reproduction(objects=objects, options=job.options, alone=False)
    near = _near(objects, job, difference)
    if len(near) < len(objects) and differs(near, job.options):
        objects = near
    objects, options = shrink(objects, job.options, differs)
    told = [] if options.localhost_node_ports else [_NO_LOCALHOST]
    return Reproduction(objects=[*objects, *told], options=options, alone=True)


def _can_send(packet: Packet, assembly: Assembly) -> bool:
    """Whether the node still has an address at all, and that of what it sends itself."""
    own = assembly.view.node_addresses
    return bool(own) and (not packet.from_node or packet.source.is_loopback or packet.source in own)


def _kind(difference: Difference) -> tuple[object, ...]:
    """What must stay as it is while all else is cut away; without it one defect could shrink to another."""
    said = {trace.disposition for trace in difference.expected}
    masqueraded = {candidate.masquerade for trace in difference.expected for candidate in trace.candidates}
    return said, masqueraded, difference.seen.disposition, difference.seen.fault


def _near(objects: Sequence[Object], job: Job, difference: Difference) -> list[Object]:
    """The node, and the Service whose door it is with its slices: a guess that saves most trials."""
    names = {step.entry.split(" ")[0].split(":")[0] for trace in difference.expected for step in trace.steps}
    services = {name.partition("/")[2] for name in names if "/" in name}
    return [
        obj
        for obj in objects
        if obj["metadata"]["name"] in (services if obj["kind"] == "Service" else {job.node})
        or (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") in services
    ]


def manifest(reproduction: Reproduction) -> str:
    """The objects as YAML documents."""
    return yaml.safe_dump_all(reproduction.objects, sort_keys=False)


def command(reproduction: Reproduction, node: str, packet: Packet, file: str) -> list[str]:
    """The arguments of `fairway` that send this packet again with the objects in `file`."""
    host = format_host(packet.destination)
    interface = ["--interface", packet.interface] if packet.interface else []
    return [
        "verify",
        *("-f", file),
        *("--node", node),
        *flags(reproduction.options),
        *("--from", str(packet.source), "--to", f"{host}:{packet.port}/{packet.protocol}"),
        *interface,
    ]


def flags(options: Options) -> list[str]:
    """Options in the words of the command line."""
    found = ["--mode", options.mode.value, "--family", _FAMILY_FLAGS[options.family]]
    node_ports = [str(each) for each in options.node_port_addresses]
    if options.primary_node_port_address:
        node_ports = [PRIMARY]
    elif not node_ports and options.mode is Mode.NFTABLES:
        node_ports = ["0.0.0.0/0", "::/0"]
    for flag, values in (
        ("--cluster-cidr", map(str, options.cluster_cidrs)),
        ("--node-address", map(str, options.node_addresses)),
        ("--nodeport-addresses", node_ports),
        ("--service-cidr", map(str, options.service_cidrs)),
    ):
        joined = ",".join(values)
        if joined:
            found += [flag, joined]
    if options.local_mode is not LocalMode.CLUSTER_CIDR:
        found += ["--detect-local-mode", options.local_mode.value]
    if options.pod_links is not None:
        flag = "--pod-interface-name-prefix" if options.pod_links.is_prefix else "--pod-bridge-interface"
        found += [flag, options.pod_links.name]
    return [*found, "--masquerade-all"] if options.masquerade_all else found


_FAMILY_FLAGS = {Family.IPV4: "ipv4", Family.IPV6: "ipv6"}

_NO_LOCALHOST: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
    "data": {
        "config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        "iptables:\n  localhostNodePorts: false\n"
    },
}
